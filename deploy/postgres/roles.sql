-- Creates the roles for the database of the window tables. Run it once in that database, as a superuser, before
-- `interlock migrate`; running it again changes nothing. Set passwords separately:
-- ALTER ROLE interlock_worker PASSWORD '…'.
--
--   interlock_owner   creates, alters and empties the tables: `interlock migrate`, `interlock replay --windows`
--   interlock_worker  adds to rows: `interlock run`, with database.migrate = false
--   interlock_reader  reads: `interlock audit`, Grafana
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['interlock_owner', 'interlock_worker', 'interlock_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', name);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', name);
    END LOOP;
    -- No other role may connect or create temporary tables.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO interlock_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE interlock_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE ON TABLES TO interlock_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE interlock_owner IN SCHEMA public
    GRANT SELECT ON TABLES TO interlock_reader;
