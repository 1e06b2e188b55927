package peer;

import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.internals.WrappedStateStore;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * All state of a task in one key-value store, hence with one changelog:
 * <pre>
 *  'S' train|date 0                   heads of the waitlists of all classes; present if the train-date is open
 *  'S' train|date 0 class coach       taken legs of a coach's seats, each in the fewest bytes that hold the legs
 *  'B' uuid, or 'R' request id        the booking; also makes requests idempotent
 *  'W' train|date 0 class number      an entry of a waitlist
 * </pre>
 * Train-dates are kept as objects and other writes in a map. All of it is written in one batch when the task commits:
 * the runtime calls {@link #flushCache} after the last record of a transaction, before it flushes the producer, as it
 * does with its own caches of records. The public interface has no such hook, so this class builds on an internal one.
 * After an abort the runtime restores the wrapped store and calls {@link #init}, which drops everything held here.
 *
 * <p>Nearly every request id is new. Fingerprints of the known ones answer that without a read of the store; where one
 * is found, the store decides. They are collected by one scan when a task starts with state.
 */
final class Inventory extends WrappedStateStore<KeyValueStore<Bytes, byte[]>, Bytes, byte[]> {
    private static final int TRAIN_DATES_MAX = 8192;
    private static final int HEAD_BYTES = 24; // of each class

    private final Progress progress;
    private final LinkedHashMap<Key, TrainDate> trainDates;
    private final ArrayList<TrainDate> changed = new ArrayList<>();
    private final Key probe = new Key();
    private final HashMap<Bytes, byte[]> pending = new HashMap<>();
    private Function<byte[], Plan> plans;
    private Fingerprints known;
    private boolean isPendingOfEvicted;
    private long decided;

    private Inventory(KeyValueStore<Bytes, byte[]> inner, Progress progress) {
        super(inner);
        this.progress = progress;
        trainDates = new LinkedHashMap<>(1024, 0.5f, true) {
            @Override protected boolean removeEldestEntry(Map.Entry<Key, TrainDate> eldest) {
                if (size() <= TRAIN_DATES_MAX) return false;
                evict(eldest.getValue());
                return true;
            }
        };
    }

    private void evict(TrainDate trainDate) {
        if (!trainDate.isChanged) return;
        write(trainDate);
        changed.remove(trainDate);
        isPendingOfEvicted = true;
    }

    /** The bytes of a key, with their hash. */
    private static final class Key {
        byte[] bytes;
        int hash;

        Key of(byte[] key) {
            bytes = key;
            hash = Arrays.hashCode(key);
            return this;
        }

        @Override public int hashCode() {
            return hash;
        }

        @Override public boolean equals(Object other) {
            return other instanceof Key key && Arrays.equals(bytes, key.bytes);
        }
    }

    /** Sets the source of plans: it returns the plan of a train, by its id, or null. */
    void readPlansFrom(Function<byte[], Plan> source) {
        plans = source;
    }

    /** Counts a decided request, to be reported with the commit that holds it. */
    void countDecided() {
        decided++;
    }

    @Override public void init(StateStoreContext context, StateStore root) {
        drop();
        super.init(context, root);
    }

    @Override public void close() {
        drop();
        super.close();
    }

    @Override public void clearCache() {
        drop();
        super.clearCache();
    }

    private void drop() {
        trainDates.clear();
        changed.clear();
        pending.clear();
        known = null;
        decided = 0;
    }

    @Override public void flushCache() {
        changed.forEach(this::write);
        changed.clear();
        writePending();
        progress.addDecided(decided);
        decided = 0;
        super.flushCache();
    }

    private void writePending() {
        isPendingOfEvicted = false;
        if (pending.isEmpty()) return;
        List<KeyValue<Bytes, byte[]>> batch = new ArrayList<>(pending.size());
        pending.forEach((key, value) -> batch.add(KeyValue.pair(key, value)));
        wrapped().putAll(batch);
        pending.clear();
    }

    private byte[] get(Bytes key) {
        byte[] value = pending.get(key);
        return value != null || pending.containsKey(key) ? value : wrapped().get(key);
    }

    /** Returns the train-date of a record's key, or null if the train has no plan. */
    TrainDate trainDate(byte[] key) {
        TrainDate trainDate = trainDates.get(probe.of(key));
        if (trainDate != null) return trainDate;
        Plan plan = plans.apply(Arrays.copyOf(key, trainLength(key)));
        if (plan == null) return null;
        trainDate = load(key, plan);
        trainDates.put(new Key().of(key), trainDate);
        return trainDate;
    }

    private static int trainLength(byte[] key) {
        for (int i = 0; i < key.length; i++) if (key[i] == '|') return i;
        return key.length;
    }

    void change(TrainDate trainDate) {
        if (trainDate.isChanged) return;
        trainDate.isChanged = true;
        changed.add(trainDate);
    }

    private TrainDate load(byte[] key, Plan plan) {
        TrainDate trainDate = new TrainDate(key, plan);
        byte[] heads = get(Bytes.wrap(seatKey(key, 0)));
        if (heads == null) {
            trainDate.isHeadChanged = true;
            return trainDate;
        }
        ByteBuffer head = ByteBuffer.wrap(heads);
        for (TrainDate.Allotment allotment : trainDate.allotments) {
            allotment.firstWaiting = head.getLong();
            allotment.nextWaiting = head.getLong();
            allotment.entries = head.getInt();
            allotment.passengersWaiting = head.getInt();
        }
        // The scan below reads the store, which lacks what was evicted since the last commit.
        if (isPendingOfEvicted) writePending();
        byte[] first = seatKey(key, 2);
        byte[] last = seatKey(key, 2);
        last[last.length - 2] = (byte) 0xff;
        last[last.length - 1] = (byte) 0xff;
        int maskBytes = maskBytes(plan.legs);
        try (KeyValueIterator<Bytes, byte[]> coaches = wrapped().range(Bytes.wrap(first), Bytes.wrap(last))) {
            while (coaches.hasNext()) {
                KeyValue<Bytes, byte[]> coach = coaches.next();
                byte[] name = coach.key.get();
                loadCoach(trainDate.allotments[name[name.length - 2]], name[name.length - 1], coach.value, maskBytes);
            }
        }
        return trainDate;
    }

    private static void loadCoach(TrainDate.Allotment allotment, int coach, byte[] masks, int maskBytes) {
        int seat = allotment.type.coachStart[coach];
        for (int at = 0; at < masks.length; seat++) {
            long mask = 0;
            for (int i = 0; i < maskBytes; i++) mask |= (masks[at++] & 0xffL) << (8 * i);
            if (mask != 0) allotment.load(seat, mask);
        }
    }

    private void write(TrainDate trainDate) {
        if (trainDate.isHeadChanged) {
            ByteBuffer heads = ByteBuffer.allocate(HEAD_BYTES * trainDate.allotments.length);
            for (TrainDate.Allotment allotment : trainDate.allotments) {
                heads.putLong(allotment.firstWaiting).putLong(allotment.nextWaiting);
                heads.putInt(allotment.entries).putInt(allotment.passengersWaiting);
            }
            pending.put(Bytes.wrap(seatKey(trainDate.key, 0)), heads.array());
            trainDate.isHeadChanged = false;
        }
        int maskBytes = maskBytes(trainDate.plan.legs);
        for (int number = 0; number < trainDate.allotments.length; number++) {
            TrainDate.Allotment allotment = trainDate.allotments[number];
            for (long left = allotment.changedCoaches; left != 0; left &= left - 1) {
                int coach = Long.numberOfTrailingZeros(left);
                byte[] key = seatKey(trainDate.key, 2);
                key[key.length - 2] = (byte) number;
                key[key.length - 1] = (byte) coach;
                pending.put(Bytes.wrap(key), masksOf(allotment, coach, maskBytes));
            }
            allotment.changedCoaches = 0;
        }
        trainDate.isChanged = false;
    }

    private static byte[] masksOf(TrainDate.Allotment allotment, int coach, int maskBytes) {
        int start = allotment.type.coachStart[coach];
        int end = allotment.type.coachStart[coach + 1];
        byte[] masks = new byte[(end - start) * maskBytes];
        int at = 0;
        for (int seat = start; seat < end; seat++) {
            for (int i = 0; i < maskBytes; i++) masks[at++] = (byte) (allotment.taken[seat] >>> (8 * i));
        }
        return masks;
    }

    private static int maskBytes(int legs) {
        return legs <= 8 ? 1 : legs <= 16 ? 2 : legs <= 32 ? 4 : 8;
    }

    private static byte[] seatKey(byte[] trainDate, int more) {
        byte[] key = new byte[trainDate.length + 2 + more];
        key[0] = 'S';
        System.arraycopy(trainDate, 0, key, 1, trainDate.length);
        return key;
    }

    /** Returns the key of a booking. A UUID takes 16 bytes of it instead of 36. */
    static Bytes bookingKey(Avro.Slice id) {
        byte[] packed = id.length == 36 ? packedUuid(id) : null;
        if (packed != null) return Bytes.wrap(packed);
        byte[] key = new byte[1 + id.length];
        key[0] = 'R';
        System.arraycopy(id.bytes, id.start, key, 1, id.length);
        return Bytes.wrap(key);
    }

    private static byte[] packedUuid(Avro.Slice id) {
        byte[] key = new byte[17];
        key[0] = 'B';
        int next = 1;
        for (int i = 0; i < 36; ) {
            if (i == 8 || i == 13 || i == 18 || i == 23) {
                if (id.bytes[id.start + i++] != '-') return null;
                continue;
            }
            int high = digit(id.bytes[id.start + i++]);
            int low = digit(id.bytes[id.start + i++]);
            if ((high | low) < 0) return null;
            key[next++] = (byte) (high << 4 | low);
        }
        return key;
    }

    /** Returns the value of a lower-case hex digit, or -1. */
    private static int digit(byte text) {
        if (text >= '0' && text <= '9') return text - '0';
        return text >= 'a' && text <= 'f' ? text - 'a' + 10 : -1;
    }

    /** Returns a booking, or null. */
    byte[] booking(Bytes key) {
        if (known == null) known = knownIds();
        return known.contains(key.get()) ? get(key) : null;
    }

    /** Stores a booking, after {@link #booking} was asked for it. */
    void putBooking(Bytes key, byte[] value) {
        known.add(key.get());
        pending.put(key, value);
    }

    private Fingerprints knownIds() {
        Fingerprints ids = new Fingerprints();
        for (byte kind : new byte[] {'B', 'R'}) {
            Bytes first = Bytes.wrap(new byte[] {kind});
            Bytes last = Bytes.wrap(new byte[] {(byte) (kind + 1)});
            try (KeyValueIterator<Bytes, byte[]> bookings = wrapped().range(first, last)) {
                while (bookings.hasNext()) ids.add(bookings.next().key.get());
            }
        }
        return ids;
    }

    private static Bytes waitingKey(byte[] trainDate, int travelClass, long number) {
        byte[] key = new byte[trainDate.length + 11];
        key[0] = 'W';
        System.arraycopy(trainDate, 0, key, 1, trainDate.length);
        ByteBuffer.wrap(key, trainDate.length + 2, 9).put((byte) travelClass).putLong(number);
        return Bytes.wrap(key);
    }

    /** Appends an entry to a waitlist, and returns it. */
    TrainDate.Waiting append(TrainDate trainDate, int travelClass, byte[] requestId, int from, int to,
                             byte[] preferences) {
        TrainDate.Allotment allotment = trainDate.allotments[travelClass];
        TrainDate.Waiting entry = new TrainDate.Waiting(allotment.nextWaiting++, requestId, from, to, preferences);
        allotment.entries++;
        allotment.passengersWaiting += preferences.length;
        pending.put(waitingKey(trainDate.key, travelClass, entry.number), entry.encode());
        trainDate.isHeadChanged = true;
        change(trainDate);
        return entry;
    }

    /** Returns the first entry of a waitlist, or null. */
    TrainDate.Waiting head(TrainDate trainDate, int travelClass) {
        TrainDate.Allotment allotment = trainDate.allotments[travelClass];
        if (allotment.entries == 0) return null;
        while (allotment.head == null) {
            byte[] entry = get(waitingKey(trainDate.key, travelClass, allotment.firstWaiting));
            // Entries that were cancelled leave gaps.
            if (entry == null) allotment.firstWaiting++;
            else allotment.head = TrainDate.Waiting.decode(allotment.firstWaiting, entry);
        }
        return allotment.head;
    }

    void remove(TrainDate trainDate, int travelClass, long number, int passengers) {
        TrainDate.Allotment allotment = trainDate.allotments[travelClass];
        pending.put(waitingKey(trainDate.key, travelClass, number), null);
        allotment.entries--;
        allotment.passengersWaiting -= passengers;
        if (number == allotment.firstWaiting) {
            allotment.firstWaiting++;
            allotment.head = null;
        }
        if (allotment.entries == 0) allotment.firstWaiting = allotment.nextWaiting;
        trainDate.isHeadChanged = true;
        change(trainDate);
    }

    /** Builds the store of a task. Its writes are always logged, and its cache is its own. */
    static final class Builder implements StoreBuilder<Inventory> {
        private static final Map<String, String> CHANGELOG = Map.of("segment.bytes", String.valueOf(512 << 20));
        private final StoreBuilder<KeyValueStore<Bytes, byte[]>> inner;
        private final Progress progress;

        Builder(KeyValueBytesStoreSupplier supplier, Progress progress) {
            inner = Stores.keyValueStoreBuilder(supplier, Serdes.Bytes(), Serdes.ByteArray())
                .withLoggingEnabled(CHANGELOG).withCachingDisabled();
            this.progress = progress;
        }

        @Override public StoreBuilder<Inventory> withCachingEnabled() {
            return this;
        }

        @Override public StoreBuilder<Inventory> withCachingDisabled() {
            return this;
        }

        @Override public StoreBuilder<Inventory> withLoggingEnabled(Map<String, String> settings) {
            inner.withLoggingEnabled(settings);
            return this;
        }

        @Override public StoreBuilder<Inventory> withLoggingDisabled() {
            throw new UnsupportedOperationException("the state would be lost with its task");
        }

        @Override public Inventory build() {
            return new Inventory(inner.build(), progress);
        }

        @Override public Map<String, String> logConfig() {
            return inner.logConfig();
        }

        @Override public boolean loggingEnabled() {
            return true;
        }

        @Override public String name() {
            return inner.name();
        }
    }
}
