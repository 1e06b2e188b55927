package peer.tools;

import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import peer.Avro;
import peer.Contract;
import peer.Options;
import peer.Outcome;
import peer.Plan;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Audits the application: replays the requests and their outcomes through seat maps of its own, as a reader of
 * committed records, decoded by Apache Avro. Every request is answered exactly once, and repetitions not at all; no
 * seat is held twice on a leg; a booking waits only if it did not fit, and is refused only if the waitlist was full;
 * waiting bookings are confirmed in their order, and none is left out; fares are the plan's; the windows are the sums
 * of the outcomes.
 *
 * <p>Prints counts as JSON. The exit status is 1 if anything is wrong.
 */
public final class Verifier {
    private static final int ERRORS_SHOWN = 20;
    private static final long MINUTE = 60_000;

    private final Log log;
    private final String application;
    private final Contract contract;
    private final Map<String, Plan> plans = new HashMap<>();
    private final Map<String, Long> counts = new TreeMap<>();
    private final Map<String, Sum> sums = new HashMap<>();
    private final Map<Schema, GenericDatumReader<GenericRecord>> readers = new HashMap<>();
    private BinaryDecoder decoder;
    private long errors;

    private Verifier(Options options) throws Exception {
        log = new Log(options.text("bootstrap"));
        application = options.text("application");
        contract = new Contract(options.text("registry"));
    }

    public static void main(String[] arguments) throws Exception {
        Options options = new Options(arguments);
        Verifier verifier = new Verifier(options);
        for (int partition = 0; partition < verifier.log.partitions(Contract.PLANS); partition++) {
            verifier.log.read(Contract.PLANS, partition, plan -> verifier.addPlan(text(plan.key()), plan.value()));
        }
        int partitions = verifier.log.partitions(Contract.REQUESTS);
        for (int partition = 0; partition < partitions; partition++) verifier.checkPartition(partition);
        if (options.isOn("windows")) verifier.checkWindows();
        String counts = verifier.counts.toString().replaceAll("(\\w+)=", "\"$1\": ");
        System.out.println("{\"errors\": " + verifier.errors + ", \"counts\": " + counts + "}");
        System.exit(verifier.errors == 0 ? 0 : 1);
    }

    private void addPlan(String train, byte[] value) {
        if (value == null) plans.remove(train);
        else plans.put(train, new Plan(value));
    }

    /** Reports a fault if the condition does not hold. */
    private void require(boolean holds, String fault) {
        if (!holds && errors++ < ERRORS_SHOWN) System.err.println("error: " + fault);
    }

    private void count(String what, long number) {
        counts.merge(what, number, Long::sum);
    }

    /** The sums of a window. */
    private static final class Sum {
        long seats;
        long revenue;
        long cancellations;

        boolean is(GenericRecord window) {
            return seats == (Long) window.get("seats_sold") && revenue == (Long) window.get("revenue_minor")
                && cancellations == (Long) window.get("cancellations");
        }
    }

    private record Event(Outcome kind, GenericRecord value) {}

    /** A booking; without seats while it waits. */
    private static final class Booking {
        String key;
        Seats seatsOf;
        int passengers;
        int from;
        int to;
        int[] seats;
        boolean isCancelled;

        long legs() {
            return (to == 64 ? -1L : (1L << to) - 1) & (-1L << from);
        }
    }

    /** The seats and the waitlist of a train-date's class. */
    private static final class Seats {
        final Plan.TravelClass type;
        final long[] taken;
        final ArrayDeque<String> waiting = new ArrayDeque<>();
        int passengersWaiting;

        Seats(Plan.TravelClass type) {
            this.type = type;
            taken = new long[type.seats];
        }

        boolean fits(Booking booking) {
            int free = 0;
            for (long legs : taken) if ((legs & booking.legs()) == 0 && ++free == booking.passengers) return true;
            return false;
        }
    }

    /** The state of one partition, as replayed so far. */
    private final class Replay {
        final Map<Long, List<Event>> events = new HashMap<>();
        final Map<String, Booking> bookings = new HashMap<>();
        final Set<String> known = new HashSet<>();
        final Map<String, Seats> seats = new HashMap<>();

        void check(ConsumerRecord<byte[], byte[]> record) {
            boolean isBooking = Avro.schemaId(record.value()) == contract.bookingId;
            GenericRecord request = decode(record.value(), isBooking ? BOOKING : CANCELLATION);
            String id = request.get("request_id").toString();
            List<Event> answers = events.remove(record.offset());
            count("requests", 1);
            if (!known.add(id)) {
                count("repetitions", 1);
                require(answers == null, "a repetition is answered: " + id);
                return;
            }
            if (answers == null) {
                require(false, "not answered: " + id);
                return;
            }
            for (Event answer : answers) sum(answer, record.timestamp());
            Event first = answers.get(0);
            require(text(first, "request_id").equals(id), "another request is answered at the offset of " + id);
            if (isBooking) checkBooking(text(record.key()), id, request, first, answers.size());
            else checkCancellation(text(record.key()), id, request, answers);
        }

        private void checkBooking(String key, String id, GenericRecord request, Event answer, int answers) {
            require(answers == 1, "a booking has " + answers + " answers: " + id);
            Booking booking = new Booking();
            booking.key = key;
            booking.passengers = ((List<?>) request.get("passengers")).size();
            Plan plan = plans.get(request.get("train_id").toString());
            booking.seatsOf = plan == null ? null : seatsOf(key, plan, request.get("travel_class").toString());
            booking.from = plan == null ? -1 : station(plan, request.get("from_station").toString());
            booking.to = plan == null ? -1 : station(plan, request.get("to_station").toString());
            boolean isValid = booking.seatsOf != null && booking.from >= 0 && booking.to > booking.from
                && request.get("quota").toString().equals(text(Plan.GENERAL))
                && booking.passengers > 0 && booking.passengers <= 6;
            if (!isValid) {
                require(isRejected(answer, "INVALID"), "an invalid booking is not rejected: " + id);
                count("invalid", 1);
                return;
            }
            bookings.put(id, booking);
            Seats of = booking.seatsOf;
            boolean fits = of.fits(booking);
            boolean isFull = of.passengersWaiting + booking.passengers > of.type.waitlistMax;
            switch (answer.kind) {
                case CONFIRMED -> {
                    require(!(Boolean) answer.value.get("promoted"), "promoted on arrival: " + id);
                    take(booking, answer.value, id);
                    count("confirmed", 1);
                }
                case WAITLIST -> {
                    require(!fits && !isFull, "waits though it fits or the list is full: " + id);
                    of.waiting.add(id);
                    of.passengersWaiting += booking.passengers;
                    require((Integer) answer.value.get("position") == of.waiting.size(), "wrong position: " + id);
                    count("waitlisted", 1);
                }
                default -> {
                    require(isRejected(answer, "WAITLIST_FULL") && !fits && isFull, "rejected without a reason: " + id);
                    bookings.remove(id);
                    count("waitlist_full", 1);
                }
            }
        }

        private void checkCancellation(String key, String id, GenericRecord request, List<Event> answers) {
            Event first = answers.get(0);
            require(first.kind == Outcome.CANCELLED, "a cancellation is not answered by one: " + id);
            if (first.kind != Outcome.CANCELLED) return;
            String target = request.get("booking_request_id").toString();
            Booking booking = bookings.get(target);
            String expected = booking == null || !booking.key.equals(key) ? "NOT_FOUND"
                : booking.isCancelled ? "ALREADY_CANCELLED" : booking.seats == null ? "WAITLIST_REMOVED" : "CANCELLED";
            String status = text(first, "status");
            require(status.equals(expected), status + ", expected " + expected + ": " + id);
            count(expected.toLowerCase(java.util.Locale.ROOT), 1);
            if (booking == null || booking.isCancelled) {
                require(answers.size() == 1, "promoted without a cancellation: " + id);
                return;
            }
            booking.isCancelled = true;
            Seats of = booking.seatsOf;
            if (booking.seats != null) {
                for (int seat : booking.seats) of.taken[seat] &= ~booking.legs();
                long fare = of.type.fare(booking.from, booking.to) * booking.passengers;
                require((Long) first.value.get("refund_minor") == fare * 75 / 100, "wrong refund: " + id);
            } else {
                of.waiting.remove(target);
                of.passengersWaiting -= booking.passengers;
            }
            for (Event promoted : answers.subList(1, answers.size())) checkPromotion(of, promoted);
            String head = of.waiting.peek();
            boolean isLeftOut = head != null && of.fits(bookings.get(head));
            require(!isLeftOut, "the first that waits fits, but is not promoted: " + head);
        }

        private void checkPromotion(Seats of, Event promoted) {
            String id = text(promoted, "request_id");
            boolean isNext = promoted.kind == Outcome.CONFIRMED && id.equals(of.waiting.peek());
            require(isNext, "promoted out of order: " + id);
            if (!isNext) return;
            require((Boolean) promoted.value.get("promoted"), "not marked as promoted: " + id);
            Booking booking = bookings.get(of.waiting.remove());
            of.passengersWaiting -= booking.passengers;
            take(booking, promoted.value, id);
            count("promoted", 1);
        }

        private void take(Booking booking, GenericRecord confirmed, String id) {
            Seats of = booking.seatsOf;
            List<?> given = (List<?>) confirmed.get("seats");
            require(given.size() == booking.passengers, "wrong number of seats: " + id);
            long fare = of.type.fare(booking.from, booking.to) * booking.passengers;
            require((Long) confirmed.get("fare_minor") == fare, "wrong fare: " + id);
            booking.seats = new int[given.size()];
            for (int i = 0; i < booking.seats.length; i++) {
                GenericRecord seat = (GenericRecord) given.get(i);
                String label = seat.get("coach") + " " + seat.get("number") + " " + seat.get("berth");
                int number = Arrays.asList(of.type.labels).indexOf(label);
                require(number >= 0, "no such seat, " + label + ": " + id);
                if (number < 0) continue;
                boolean isFree = (of.taken[number] & booking.legs()) == 0;
                require(isFree, "SOLD TWICE: " + booking.key + " " + label + " by " + id);
                of.taken[number] |= booking.legs();
                booking.seats[i] = number;
                count("seats", 1);
            }
        }

        private Seats seatsOf(String key, Plan plan, String travelClass) {
            for (Plan.TravelClass type : plan.classes) {
                if (text(type.name).equals(travelClass)) {
                    return seats.computeIfAbsent(key + "|" + travelClass, name -> new Seats(type));
                }
            }
            return null;
        }
    }

    private static final Schema BOOKING = Contract.contractSchema("booking_request");
    private static final Schema CANCELLATION = Contract.contractSchema("cancellation_request");

    private void checkPartition(int partition) {
        Replay replay = new Replay();
        // A cancellation comes before the promotions that it causes.
        for (Outcome kind : Outcome.ANSWERS) {
            Schema schema = kind.schema();
            log.read(kind.topic(application), partition, record -> {
                require(Avro.schemaId(record.value()) == kind.schemaId(), "another schema in " + record.topic());
                Event event = new Event(kind, decode(record.value(), schema));
                long offset = (Long) event.value.get("source_offset");
                replay.events.computeIfAbsent(offset, key -> new ArrayList<>(1)).add(event);
            });
        }
        log.read(Contract.REQUESTS, partition, replay::check);
        require(replay.events.isEmpty(), "outcomes of no request at " + replay.events.keySet());
        count("train_dates_and_classes", replay.seats.size());
    }

    private void sum(Event event, long time) {
        require((Long) event.value.get("event_time") == time, "wrong event_time: " + text(event, "request_id"));
        boolean isConfirmed = event.kind == Outcome.CONFIRMED;
        boolean isCancelled = event.kind == Outcome.CANCELLED && text(event, "travel_class").length() > 0;
        if (!isConfirmed && !isCancelled) return;
        Sum sum = sums.computeIfAbsent(window(event.value, time - time % MINUTE), key -> new Sum());
        if (isConfirmed) {
            sum.seats += ((List<?>) event.value.get("seats")).size();
            sum.revenue += (Long) event.value.get("fare_minor");
        } else {
            sum.seats -= (Integer) event.value.get("seats_released");
            sum.revenue -= (Long) event.value.get("refund_minor");
            sum.cancellations++;
        }
    }

    private static String window(GenericRecord value, long start) {
        return value.get("train_id") + "|" + value.get("travel_class") + "|" + start;
    }

    private void checkWindows() {
        String topic = Outcome.OCCUPANCY.topic(application);
        Map<String, GenericRecord> latest = new HashMap<>();
        Schema schema = Outcome.OCCUPANCY.schema();
        for (int partition = 0; partition < log.partitions(topic); partition++) {
            log.read(topic, partition, record -> {
                GenericRecord value = decode(record.value(), schema);
                latest.put(window(value, (Long) value.get("window_start")), value);
            });
        }
        sums.forEach((key, sum) -> {
            GenericRecord window = latest.remove(key);
            require(window != null && sum.is(window), "the window " + key + " is " + window);
            count("windows", 1);
        });
        require(latest.isEmpty(), "windows of no outcome: " + latest.keySet());
    }

    private GenericRecord decode(byte[] value, Schema schema) {
        try {
            int length = value.length - Avro.FRAME_BYTES;
            decoder = DecoderFactory.get().binaryDecoder(value, Avro.FRAME_BYTES, length, decoder);
            GenericRecord record = readers.computeIfAbsent(schema, GenericDatumReader::new).read(null, decoder);
            require(decoder.isEnd(), "bytes after a record of " + schema.getName());
            return record;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private static boolean isRejected(Event event, String code) {
        return event.kind == Outcome.REJECTED && text(event, "code").equals(code);
    }

    private static int station(Plan plan, String name) {
        for (int i = 0; i < plan.stations.length; i++) if (text(plan.stations[i]).equals(name)) return i;
        return -1;
    }

    private static String text(Event event, String field) {
        return event.value.get(field).toString();
    }

    private static String text(byte[] utf8) {
        return new String(utf8, StandardCharsets.UTF_8);
    }
}
