-- Until the end of the transaction, no other worker looks whose tables of this schema these are.
SELECT pg_advisory_xact_lock(hashtextextended('interlock application in ' || current_schema(), 0))
