package peer;

import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A train's plan, compiled for the choice of seats: its stops, and for each class the seats of the general quota with
 * their coaches, kinds and fares. The seats of other quotas stay unsold; few requests of the load ask for them.
 */
public final class Plan {
    /** The quota that the application sells. */
    public static final byte[] GENERAL = "GN".getBytes(StandardCharsets.UTF_8);
    /** Leg masks are numbers of 64 bits. */
    private static final int LEGS_MAX = 64;
    /** Kinds of seats; as preferences they count from 1, and 0 is none. */
    private static final List<String> BERTHS =
        List.of("LOWER", "MIDDLE", "UPPER", "SIDE_LOWER", "SIDE_UPPER", "WINDOW", "AISLE");
    /** The classes whose waitlists take 60 % of the seats; others take 30 %. */
    private static final Set<String> LONG_WAITLISTS = Set.of("1A", "2A", "3A", "3E", "CC", "EC", "FIRST");

    private static final Schema SCHEMA = Contract.contractSchema("train_service");

    public final int legs;
    public final byte[][] stations;
    public final TravelClass[] classes;
    private final long[] stationCodes;

    /** Compiles a record of {@link Contract#PLANS}. */
    public Plan(byte[] value) {
        GenericRecord plan = decode(value);
        List<GenericRecord> route = records(plan.get("route"));
        legs = route.size() - 1;
        if (legs > LEGS_MAX) throw new IllegalArgumentException("a train has more than " + LEGS_MAX + " legs");
        stations = new byte[route.size()][];
        stationCodes = new long[route.size()];
        for (int stop = 0; stop < stations.length; stop++) {
            stations[stop] = utf8(route.get(stop).get("code"));
            stationCodes[stop] = Avro.code(stations[stop], 0, stations[stop].length);
        }
        Map<String, List<GenericRecord>> coaches = new LinkedHashMap<>();
        for (GenericRecord coach : records(plan.get("coaches"))) {
            coaches.computeIfAbsent(text(coach, "travel_class"), name -> new ArrayList<>()).add(coach);
        }
        List<TravelClass> compiled = new ArrayList<>();
        coaches.forEach((name, list) -> compiled.add(new TravelClass(name, list, plan, route)));
        classes = compiled.toArray(new TravelClass[0]);
    }

    private static GenericRecord decode(byte[] value) {
        try {
            int length = value.length - Avro.FRAME_BYTES;
            var decoder = DecoderFactory.get().binaryDecoder(value, Avro.FRAME_BYTES, length, null);
            return new GenericDatumReader<GenericRecord>(SCHEMA).read(null, decoder);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Returns the number of a stop, or -1. */
    int station(Avro.Slice name) {
        long code = name.code();
        for (int stop = 0; stop < stationCodes.length; stop++) {
            if (stationCodes[stop] == code && name.is(stations[stop])) return stop;
        }
        return -1;
    }

    /** Returns the number of a class, or -1. */
    int travelClass(Avro.Slice name) {
        for (int i = 0; i < classes.length; i++) if (name.is(classes[i].name)) return i;
        return -1;
    }

    /** The seats of a class in the general quota. A set of seats has a bit for each. */
    public static final class TravelClass {
        public final byte[] name;
        public final int seats;
        /** Most passengers that may wait. */
        public final int waitlistMax;
        /** Longs of a set of seats. */
        final int words;
        /** Number of each seat's coach, and each coach's first seat; one more for the end. */
        final int[] coachOf;
        final int[] coachStart;
        /** Sets of the seats that meet a preference; the first has all seats. */
        final long[][] meeting;
        /** Each seat as an item of {@code Confirmed.seats}, and as the verifier names it. */
        final byte[][] encoded;
        public final String[] labels;
        private final long[][] fares;

        TravelClass(String text, List<GenericRecord> coaches, GenericRecord plan, List<GenericRecord> route) {
            name = utf8(text);
            Map<String, GenericRecord> layouts = new LinkedHashMap<>();
            for (GenericRecord layout : records(plan.get("layouts"))) layouts.put(text(layout, "name"), layout);
            int inClass = 0;
            for (GenericRecord coach : coaches) inClass += (Integer) layouts.get(text(coach, "layout")).get("seats");
            seats = inClass - inOtherQuotas(plan, text);
            waitlistMax = waitlistMax(plan, text, seats);
            words = (seats + 63) >>> 6;
            coachOf = new int[seats];
            coachStart = new int[coaches.size() + 1];
            meeting = new long[BERTHS.size() + 1][words];
            encoded = new byte[seats][];
            labels = new String[seats];
            int seat = 0;
            for (int coach = 0; coach < coaches.size(); coach++) {
                coachStart[coach] = seat;
                String coachName = text(coaches.get(coach), "name");
                GenericRecord layout = layouts.get(text(coaches.get(coach), "layout"));
                List<?> pattern = (List<?>) layout.get("pattern");
                for (int i = 0; i < (Integer) layout.get("seats") && seat < seats; i++, seat++) {
                    int berth = BERTHS.indexOf(pattern.get(i % pattern.size()).toString());
                    add(seat, coach, coachName, i + 1, berth);
                }
            }
            coachStart[coaches.size()] = seat;
            fares = fares(plan, text, route);
        }

        private void add(int seat, int coach, String coachName, int number, int berth) {
            coachOf[seat] = coach;
            meeting[0][seat >>> 6] |= 1L << seat;
            meeting[berth + 1][seat >>> 6] |= 1L << seat;
            encoded[seat] = new Avro.Writer().startPart().text(utf8(coachName)).number(number).number(berth).done();
            labels[seat] = coachName + " " + number + " " + BERTHS.get(berth);
        }

        /** Returns the fare of one passenger, in minor units. */
        public long fare(int from, int to) {
            return fares[from][to];
        }
    }

    private static int inOtherQuotas(GenericRecord plan, String travelClass) {
        int seats = 0;
        for (GenericRecord quota : records(plan.get("quotas"))) {
            if (text(quota, "travel_class").equals(travelClass)) seats += (Integer) quota.get("seats");
        }
        return seats;
    }

    private static int waitlistMax(GenericRecord plan, String travelClass, int seats) {
        for (GenericRecord cap : records(plan.get("waitlist_caps"))) {
            boolean isGeneral = text(cap, "quota").equals("GN");
            if (isGeneral && text(cap, "travel_class").equals(travelClass)) return (Integer) cap.get("passengers");
        }
        return (seats * (LONG_WAITLISTS.contains(travelClass) ? 60 : 30) + 50) / 100;
    }

    /** Computes the fare of every segment: the slab by distance, the reservation fee, and tax on both. */
    private static long[][] fares(GenericRecord plan, String travelClass, List<GenericRecord> route) {
        GenericRecord fare = records(plan.get("fares")).stream()
            .filter(candidate -> text(candidate, "travel_class").equals(travelClass)).findFirst().orElseThrow();
        List<GenericRecord> slabs = records(fare.get("slabs"));
        long[][] fares = new long[route.size()][route.size()];
        for (int from = 0; from < route.size(); from++) {
            for (int to = from + 1; to < route.size(); to++) {
                long distance = (Long) route.get(to).get("distance_m") - (Long) route.get(from).get("distance_m");
                GenericRecord slab = slabs.stream().filter(candidate -> distance <= (Long) candidate.get("up_to_m"))
                    .findFirst().orElse(slabs.get(slabs.size() - 1));
                long sum = (Long) slab.get("fare_minor") + (Long) fare.get("reservation_fee_minor");
                fares[from][to] = sum + (sum * (Integer) fare.get("tax_bp") + 5_000) / 10_000;
            }
        }
        return fares;
    }

    private static String text(GenericRecord record, String field) {
        return record.get(field).toString();
    }

    @SuppressWarnings("unchecked")
    private static List<GenericRecord> records(Object array) {
        return (List<GenericRecord>) array;
    }

    private static byte[] utf8(Object text) {
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }
}
