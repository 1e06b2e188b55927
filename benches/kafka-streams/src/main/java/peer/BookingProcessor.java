package peer;

import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.TimestampedKeyValueStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** Decides the bookings and cancellations of the train-dates of one partition. README.md states the rules. */
final class BookingProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    static final String INVENTORY = "inventory", PLANS = "plans";
    /** First byte of a stored booking. An answered request holds no seat and no place. */
    private static final byte ANSWERED = 1, CONFIRMED = 2, WAITING = 3, CANCELLED = 4;
    private static final int PASSENGERS_MAX = 6, REFUND_PERCENT = 75;
    private static final int PNR_CHARACTERS = 13;
    private static final byte[] NONE = new byte[0];

    private final Contract contract;
    private final Progress progress;
    private ProcessorContext<byte[], byte[]> context;
    private Inventory inventory;
    private TimestampedKeyValueStore<Bytes, byte[]> planRecords;
    private final Map<Bytes, CompiledPlan> compiled = new HashMap<>();

    // Working memory of one record.
    private final Avro.Reader in = new Avro.Reader();
    private final Avro.Writer out = new Avro.Writer();
    private final Avro.Slice requestId = new Avro.Slice(), bookingId = new Avro.Slice(), promotedId = new Avro.Slice();
    private final Avro.Slice train = new Avro.Slice(), travelClass = new Avro.Slice(), quota = new Avro.Slice();
    private final Avro.Slice from = new Avro.Slice(), to = new Avro.Slice();
    private final byte[] preferences = new byte[PASSENGERS_MAX];
    private final int[] seats = new int[PASSENGERS_MAX];
    private final byte[] pnr = new byte[PNR_CHARACTERS];
    private long[] fitting = {};

    private record CompiledPlan(byte[] value, Plan plan) {}

    BookingProcessor(Contract contract, Progress progress) {
        this.contract = contract;
        this.progress = progress;
    }

    @Override public void init(ProcessorContext<byte[], byte[]> taskContext) {
        context = taskContext;
        inventory = context.getStateStore(INVENTORY);
        planRecords = context.getStateStore(PLANS);
        inventory.readPlansFrom(this::plan);
    }

    /** Returns the plan in force, compiled once for each value. */
    private Plan plan(byte[] trainId) {
        Bytes key = Bytes.wrap(trainId);
        ValueAndTimestamp<byte[]> current = planRecords.get(key);
        if (current == null) return null;
        CompiledPlan known = compiled.get(key);
        if (known == null || !Arrays.equals(known.value, current.value())) {
            known = new CompiledPlan(current.value(), new Plan(current.value()));
            compiled.put(key, known);
        }
        return known.plan;
    }

    @Override public void process(Record<byte[], byte[]> request) {
        int schema = Avro.schemaId(request.value());
        if (schema != contract.bookingId && schema != contract.cancellationId) {
            throw new IllegalArgumentException("a request was written with schema " + schema);
        }
        in.on(request.value());
        in.readText(requestId);
        inventory.countDecided();
        Bytes id = Inventory.bookingKey(requestId);
        if (inventory.booking(id) != null) return; // answered already
        if (schema == contract.bookingId) book(request, id);
        else cancel(request, id);
    }

    private void book(Record<byte[], byte[]> request, Bytes id) {
        in.readText(train);
        int date = in.readInt();
        in.skipText(); // user_id
        in.readText(from);
        in.readText(to);
        in.readText(travelClass);
        in.readText(quota);
        int passengers = readPassengers();

        TrainDate trainDate = inventory.trainDate(request.key());
        Plan plan = trainDate == null ? null : trainDate.plan;
        int number = plan == null ? -1 : plan.travelClass(travelClass);
        int first = plan == null ? -1 : plan.station(from);
        int last = plan == null ? -1 : plan.station(to);
        boolean isValid = number >= 0 && first >= 0 && last > first && quota.is(Plan.GENERAL)
            && passengers > 0 && passengers <= PASSENGERS_MAX;
        if (!isValid) {
            reject(request, id, date, Outcome.INVALID);
            return;
        }
        TrainDate.Allotment allotment = trainDate.allotments[number];
        if (fitting.length < allotment.type.words) fitting = new long[allotment.type.words];
        if (allotment.choose(first, last, preferences, passengers, seats, fitting)) {
            confirm(request, trainDate, number, id, requestId, date, first, last, passengers, false);
        } else if (allotment.passengersWaiting + passengers > allotment.type.waitlistMax) {
            reject(request, id, date, Outcome.WAITLIST_FULL);
        } else {
            wait(request, trainDate, number, id, date, first, last, Arrays.copyOf(preferences, passengers));
        }
    }

    /** Reads the passengers' preferences, as far as there is room, and returns the number of passengers. */
    private int readPassengers() {
        int passengers = 0;
        for (int block = in.readBlock(); block > 0; block = in.readBlock()) {
            for (; block > 0; block--) {
                in.skipText(); // name
                in.readInt(); // age
                int preference = in.readInt();
                in.skipByte(); // preference_is_hard
                if (passengers < PASSENGERS_MAX) preferences[passengers] = (byte) preference;
                passengers++;
            }
        }
        return passengers;
    }

    /** Takes {@link #seats}, stores the booking and tells. */
    private void confirm(Record<byte[], byte[]> request, TrainDate trainDate, int number, Bytes id, Avro.Slice booking,
                         int date, int first, int last, int passengers, boolean isPromoted) {
        TrainDate.Allotment allotment = trainDate.allotments[number];
        for (int i = 0; i < passengers; i++) allotment.take(seats[i], first, last);
        inventory.change(trainDate);
        long fare = allotment.type.fare(first, last) * passengers;
        ByteBuffer stored = booking(CONFIRMED, number, first, last, passengers, 8 + 2 * passengers).putLong(fare);
        for (int i = 0; i < passengers; i++) stored.putShort((short) seats[i]);
        inventory.putBooking(id, stored.array());

        out.start(Outcome.CONFIRMED.schemaId()).number(offset()).text(booking).text(pnrOf(booking)).text(train)
            .number(date).text(allotment.type.name)
            .text(trainDate.plan.stations[first]).text(trainDate.plan.stations[last]).number(passengers);
        for (int i = 0; i < passengers; i++) out.encoded(allotment.type.encoded[seats[i]]);
        out.number(0).number(fare).flag(isPromoted).number(request.timestamp());
        tell(request, Outcome.CONFIRMED);
    }

    private void wait(Record<byte[], byte[]> request, TrainDate trainDate, int number, Bytes id, int date,
                      int first, int last, byte[] wanted) {
        TrainDate.Waiting entry = inventory.append(trainDate, number, requestId.copy(), first, last, wanted);
        inventory.putBooking(id, booking(WAITING, number, first, last, wanted.length, 8).putLong(entry.number).array());
        TrainDate.Allotment allotment = trainDate.allotments[number];
        out.start(Outcome.WAITLIST.schemaId()).number(offset()).text(requestId).text(train)
            .number(date).text(allotment.type.name).number(allotment.entries).number(request.timestamp());
        tell(request, Outcome.WAITLIST);
    }

    private void reject(Record<byte[], byte[]> request, Bytes id, int date, int code) {
        inventory.putBooking(id, new byte[] {ANSWERED});
        out.start(Outcome.REJECTED.schemaId()).number(offset()).text(requestId).text(train)
            .number(date).text(travelClass).number(code).number(request.timestamp());
        tell(request, Outcome.REJECTED);
    }

    private static ByteBuffer booking(byte status, int number, int first, int last, int passengers, int more) {
        return ByteBuffer.allocate(5 + more)
            .put(status).put((byte) number).put((byte) first).put((byte) last).put((byte) passengers);
    }

    private void cancel(Record<byte[], byte[]> request, Bytes id) {
        in.readText(train);
        int date = in.readInt();
        in.readText(bookingId);
        inventory.putBooking(id, new byte[] {ANSWERED});

        Bytes target = Inventory.bookingKey(bookingId);
        byte[] value = inventory.booking(target);
        TrainDate trainDate = value == null ? null : inventory.trainDate(request.key());
        if (trainDate == null || value[0] == ANSWERED || value[0] == CANCELLED) {
            boolean wasCancelled = trainDate != null && value[0] == CANCELLED;
            tellCancelled(request, date, NONE, 0, 0, wasCancelled ? Outcome.ALREADY_CANCELLED : Outcome.NOT_FOUND);
            return;
        }
        ByteBuffer stored = ByteBuffer.wrap(value);
        byte status = stored.get();
        int number = stored.get(), first = stored.get(), last = stored.get(), passengers = stored.get();
        TrainDate.Allotment allotment = trainDate.allotments[number];
        inventory.putBooking(target, booking(CANCELLED, number, first, last, passengers, 0).array());
        if (status == CONFIRMED) {
            long fare = stored.getLong();
            for (int i = 0; i < passengers; i++) allotment.release(stored.getShort(), first, last);
            inventory.change(trainDate);
            long refund = fare * REFUND_PERCENT / 100;
            tellCancelled(request, date, allotment.type.name, passengers, refund, Outcome.RELEASED);
        } else {
            inventory.remove(trainDate, number, stored.getLong(), passengers);
            tellCancelled(request, date, allotment.type.name, 0, 0, Outcome.LEFT_WAITLIST);
        }
        promote(request, trainDate, number, date);
    }

    /** Confirms waiting bookings in their order, up to the first that does not fit. */
    private void promote(Record<byte[], byte[]> request, TrainDate trainDate, int number, int date) {
        TrainDate.Allotment allotment = trainDate.allotments[number];
        if (fitting.length < allotment.type.words) fitting = new long[allotment.type.words];
        for (TrainDate.Waiting next; (next = inventory.head(trainDate, number)) != null; ) {
            int passengers = next.preferences.length;
            if (!allotment.choose(next.from, next.to, next.preferences, passengers, seats, fitting)) return;
            inventory.remove(trainDate, number, next.number, passengers);
            promotedId.set(next.requestId);
            Bytes id = Inventory.bookingKey(promotedId);
            confirm(request, trainDate, number, id, promotedId, date, next.from, next.to, passengers, true);
        }
    }

    private void tellCancelled(Record<byte[], byte[]> request, int date, byte[] className, int released, long refund,
                               int status) {
        out.start(Outcome.CANCELLED.schemaId()).number(offset()).text(requestId).text(bookingId).text(train)
            .number(date).text(className).number(released).number(refund).number(status).number(request.timestamp());
        tell(request, Outcome.CANCELLED);
    }

    private void tell(Record<byte[], byte[]> request, Outcome outcome) {
        context.forward(new Record<>(request.key(), out.done(), request.timestamp()), outcome.name());
        if (outcome == Outcome.CONFIRMED || outcome == Outcome.CANCELLED) progress.addOutcome();
    }

    private long offset() {
        return context.recordMetadata().map(RecordMetadata::offset).orElseThrow();
    }

    /** Returns the PNR of a booking: a hash of its request id in base 32, so that no counter has to be kept. */
    private byte[] pnrOf(Avro.Slice id) {
        long hash = 0xcbf29ce484222325L;
        for (int i = 0; i < id.length; i++) hash = (hash ^ id.bytes[id.start + i]) * 0x100000001b3L;
        hash ^= hash >>> 32;
        hash *= 0x9E3779B97F4A7C15L;
        hash ^= hash >>> 29;
        for (int i = PNR_CHARACTERS - 1; i >= 0; i--) {
            pnr[i] = (byte) "0123456789ABCDEFGHJKMNPQRSTVWXYZ".charAt((int) (hash & 31));
            hash >>>= 5;
        }
        return pnr;
    }
}
