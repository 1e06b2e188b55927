package peer;

import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** Windows of one minute for each train and class: seats sold, revenue and cancellations. */
final class Occupancy {
    private static final Duration WINDOW = Duration.ofMinutes(1), GRACE = Duration.ofHours(24);
    /** A delta is seats (int), revenue (long), cancellations (int); a sum has three longs. */
    private static final int DELTA_BYTES = 16, SUM_BYTES = 24;

    private Occupancy() {}

    static void add(StreamsBuilder builder, String application, boolean isInMemory, Progress progress) {
        Serde<byte[]> bytes = Serdes.ByteArray();
        Duration retention = WINDOW.plus(GRACE);
        Materialized<byte[], byte[], WindowStore<Bytes, byte[]>> store = Materialized.<byte[], byte[]>as(isInMemory
                ? Stores.inMemoryWindowStore("occupancy", retention, WINDOW, false)
                : Stores.persistentWindowStore("occupancy", retention, WINDOW, false))
            .withKeySerde(bytes).withValueSerde(bytes).withCachingEnabled().withLoggingEnabled(Map.of());
        List<String> outcomes = List.of(Outcome.CONFIRMED.topic(application), Outcome.CANCELLED.topic(application));
        builder.stream(outcomes, Consumed.with(bytes, bytes).withName("outcomes"))
            .process(() -> new ToDelta(progress), Named.as("to-delta"))
            .groupByKey(Grouped.with("by-train-and-class", bytes, bytes))
            .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
            .aggregate(
                () -> new byte[SUM_BYTES], (key, delta, sum) -> add(sum, delta, progress), Named.as("sum"), store)
            .toStream(Named.as("updates"))
            .process(ToOccupancy::new, Named.as("to-occupancy"))
            .to(Outcome.OCCUPANCY.topic(application), Produced.with(bytes, bytes).withName("occupancy-topic"));
    }

    private static byte[] add(byte[] sum, byte[] delta, Progress progress) {
        progress.addSummed();
        ByteBuffer old = ByteBuffer.wrap(sum), change = ByteBuffer.wrap(delta);
        return ByteBuffer.allocate(SUM_BYTES).putLong(old.getLong() + change.getInt())
            .putLong(old.getLong() + change.getLong()).putLong(old.getLong() + change.getInt()).array();
    }

    /** Turns an outcome of a train-date into what it changes for its train and class. */
    private static final class ToDelta extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        private final Progress progress;
        private final Avro.Reader in = new Avro.Reader();
        private final Avro.Slice train = new Avro.Slice(), travelClass = new Avro.Slice();

        ToDelta(Progress progress) {
            this.progress = progress;
        }

        @Override public void process(Record<byte[], byte[]> outcome) {
            in.on(outcome.value());
            in.readLong(); // source_offset
            in.skipText(); // request_id
            in.skipText(); // pnr, or booking_request_id
            in.readText(train);
            in.readInt(); // travel_date
            in.readText(travelClass);
            boolean isConfirmed = Avro.schemaId(outcome.value()) == Outcome.CONFIRMED.schemaId();
            byte[] delta = isConfirmed ? confirmed() : cancelled();
            progress.addRead(delta == null ? 0 : 1);
            if (delta == null) return;
            byte[] key = new byte[train.length + 1 + travelClass.length];
            System.arraycopy(train.bytes, train.start, key, 0, train.length);
            key[train.length] = '|';
            System.arraycopy(travelClass.bytes, travelClass.start, key, train.length + 1, travelClass.length);
            context().forward(new Record<>(key, delta, outcome.timestamp()));
        }

        private byte[] confirmed() {
            in.skipText(); // from_station
            in.skipText(); // to_station
            int seats = 0;
            for (int block = in.readBlock(); block > 0; block = in.readBlock()) {
                seats += block;
                for (; block > 0; block--) {
                    in.skipText(); // coach
                    in.readInt(); // number
                    in.readInt(); // berth
                }
            }
            return ByteBuffer.allocate(DELTA_BYTES).putInt(seats).putLong(in.readLong()).putInt(0).array();
        }

        /** Returns null if nothing was cancelled. */
        private byte[] cancelled() {
            int released = in.readInt();
            long refund = in.readLong();
            int status = in.readInt();
            if (status != Outcome.RELEASED && status != Outcome.LEFT_WAITLIST) return null;
            return ByteBuffer.allocate(DELTA_BYTES).putInt(-released).putLong(-refund).putInt(1).array();
        }
    }

    private static final class ToOccupancy extends ContextualProcessor<Windowed<byte[]>, byte[], byte[], byte[]> {
        private final Avro.Writer out = new Avro.Writer();

        @Override public void process(Record<Windowed<byte[]>, byte[]> update) {
            byte[] key = update.key().key();
            int bar = key.length - 1;
            while (key[bar] != '|') bar--;
            ByteBuffer sum = ByteBuffer.wrap(update.value());
            out.start(Outcome.OCCUPANCY.schemaId()).text(key, 0, bar).text(key, bar + 1, key.length - bar - 1)
                .number(update.key().window().start()).number(update.key().window().end())
                .number(sum.getLong()).number(sum.getLong()).number(sum.getLong());
            context().forward(new Record<>(key, out.done(), update.timestamp()));
        }
    }
}
