"""The fault lab: running servers, broken on purpose at one place after another, and their mail counted."""
