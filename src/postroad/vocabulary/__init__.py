"""The nouns of mail, and nothing that acts: the room that every other room may import."""
