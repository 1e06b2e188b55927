-- Makes hypertables of the tables that grow with time, where TimescaleDB is installed; elsewhere it does nothing and
-- they stay plain. Runs at every start, changes nothing the second time, and moves the rows along where the extension
-- was installed later. Nothing here, or in the migrations, needs more than TimescaleDB's Apache edition.
DO $$
DECLARE
    extension_schema text;
    name             text;
BEGIN
    SELECT n.nspname INTO extension_schema
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'timescaledb';
    IF extension_schema IS NULL THEN
        RETURN;
    END IF;
    -- Workers that start together take turns.
    PERFORM pg_advisory_xact_lock(hashtext('interlock hypertables'));
    FOREACH name IN ARRAY ARRAY['occupancy_minute', 'rejections_minute', 'revenue_minute'] LOOP
        IF NOT EXISTS (
            SELECT FROM timescaledb_information.hypertables h
            -- Not a cast to regclass, which fails where another schema's table is dropped meanwhile.
            WHERE to_regclass(format('%I.%I', h.hypertable_schema, h.hypertable_name)) = name::regclass
        ) THEN
            EXECUTE format(
                'SELECT %I.create_hypertable(%L::regclass, %L::name, chunk_time_interval => interval ''7 days'', migrate_data => true)',
                extension_schema, name, 'minute'
            );
        END IF;
    END LOOP;
END $$
