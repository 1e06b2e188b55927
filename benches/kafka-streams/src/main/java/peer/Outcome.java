package peer;

import org.apache.avro.Schema;

/** The kinds of events that the application writes, each to a topic of its own and with a schema of its own. */
public enum Outcome {
    CONFIRMED, WAITLIST, CANCELLED, REJECTED, OCCUPANCY;

    /** The kinds that answer a request; {@link #OCCUPANCY} comes from the windows. */
    public static final Outcome[] ANSWERS = {CANCELLED, CONFIRMED, WAITLIST, REJECTED};

    /** Statuses of a cancellation, as the schema numbers them. */
    static final int RELEASED = 0, LEFT_WAITLIST = 1, ALREADY_CANCELLED = 2, NOT_FOUND = 3;

    /** Codes of a rejection, as the schema numbers them. */
    static final int WAITLIST_FULL = 0, INVALID = 1;

    /** Returns the topic of an application. */
    public String topic(String application) {
        return application + "-" + fileName();
    }

    /** Returns the schema's id. These schemas are in no registry, so the application numbers them. */
    public int schemaId() {
        return ordinal() + 1;
    }

    public Schema schema() {
        return Contract.schema("/outcomes/" + fileName() + ".avsc");
    }

    private String fileName() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
