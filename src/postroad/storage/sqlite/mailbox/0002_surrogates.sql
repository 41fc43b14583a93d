-- What a client that cannot read UTF-8 in headers gets in the place of a message (RFC 6858): edits to it by ranges, made
-- at its delivery, and by how many octets they make it grow. NULL for a message that everybody may have as it is, and
-- for those that were delivered before this was kept.
ALTER TABLE message ADD COLUMN surrogate_growth INTEGER;
ALTER TABLE content ADD COLUMN surrogate BLOB;
