-- 0003_administrators.sql
-- Why: an administrator can hold groups back until they are released. What is held is in no look at what is due, so
-- the index of those leaves it out; a queue in which nothing is held pays nothing for it.

ALTER TABLE recipient_group ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

DROP INDEX recipient_group_due;
CREATE INDEX recipient_group_due ON recipient_group (due_at) WHERE held = 0;
CREATE INDEX recipient_group_held ON recipient_group (due_at) WHERE held = 1;
