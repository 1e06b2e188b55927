package peer;

import java.util.Arrays;

/**
 * The state of one train-date as objects. Each seat has a mask of its taken legs, and each leg a set of its free seats,
 * derived from the masks, so that the seats that are free on a segment are found by a few ANDs. {@link Inventory}
 * stores it, coach by coach.
 */
final class TrainDate {
    final byte[] key;
    final Plan plan;
    final Allotment[] allotments;
    boolean isChanged;
    /** Set if the heads of the waitlists have changed, or the train-date is new. */
    boolean isHeadChanged;

    TrainDate(byte[] key, Plan plan) {
        this.key = key;
        this.plan = plan;
        allotments = new Allotment[plan.classes.length];
        for (int i = 0; i < allotments.length; i++) allotments[i] = new Allotment(plan.classes[i], plan.legs);
    }

    /** The seats and the waitlist of a class. */
    static final class Allotment {
        final Plan.TravelClass type;
        final int legs;
        /** Taken legs of each seat. */
        final long[] taken;
        /** Free seats on each leg, one set after the other. */
        final long[] free;
        /** The coaches to be stored, as a set; a class has at most 64. */
        long changedCoaches;
        /** Numbers of the first entry of the waitlist and of the next one. */
        long firstWaiting;
        long nextWaiting;
        int entries;
        int passengersWaiting;
        /** The first entry, if it was read. */
        Waiting head;

        Allotment(Plan.TravelClass type, int legs) {
            this.type = type;
            this.legs = legs;
            taken = new long[type.seats];
            free = new long[legs * type.words];
            for (int leg = 0; leg < legs; leg++) {
                System.arraycopy(type.meeting[0], 0, free, leg * type.words, type.words);
            }
        }

        void load(int seat, long mask) {
            taken[seat] = mask;
            for (int leg = 0; leg < legs; leg++) {
                if ((mask >>> leg & 1) != 0) free[leg * type.words + (seat >>> 6)] &= ~(1L << seat);
            }
        }

        /**
         * Chooses seats for all passengers, or returns false. The criteria are, in this order: the preferred kind, the
         * coach of the booking's first seat, the lowest number. {@code fitting} is working memory.
         */
        boolean choose(int from, int to, byte[] preferences, int passengers, int[] chosen, long[] fitting) {
            int words = type.words;
            System.arraycopy(free, from * words, fitting, 0, words);
            for (int leg = from + 1; leg < to; leg++) {
                for (int word = 0; word < words; word++) fitting[word] &= free[leg * words + word];
            }
            int count = 0;
            for (int word = 0; word < words && count < passengers; word++) count += Long.bitCount(fitting[word]);
            if (count < passengers) return false;
            int coach = -1;
            for (int i = 0; i < passengers; i++) {
                int seat = preferences[i] == 0 ? -1 : first(fitting, type.meeting[preferences[i]], coach);
                if (seat < 0) seat = first(fitting, type.meeting[0], coach);
                fitting[seat >>> 6] &= ~(1L << seat);
                chosen[i] = seat;
                if (coach < 0) coach = type.coachOf[seat];
            }
            return true;
        }

        /** Returns the first seat in both sets, from a coach if possible; -1 if there is none. */
        private int first(long[] fitting, long[] meeting, int coach) {
            int seat = -1;
            if (coach >= 0) seat = first(fitting, meeting, type.coachStart[coach], type.coachStart[coach + 1]);
            return seat >= 0 ? seat : first(fitting, meeting, 0, type.seats);
        }

        private static int first(long[] fitting, long[] meeting, int start, int end) {
            int word = start >>> 6;
            int last = (end - 1) >>> 6;
            long both = fitting[word] & meeting[word] & (-1L << start);
            while (both == 0) {
                if (++word > last) return -1;
                both = fitting[word] & meeting[word];
            }
            int seat = (word << 6) + Long.numberOfTrailingZeros(both);
            return seat < end ? seat : -1;
        }

        void take(int seat, int from, int to) {
            taken[seat] |= legMask(from, to);
            for (int leg = from; leg < to; leg++) free[leg * type.words + (seat >>> 6)] &= ~(1L << seat);
            changedCoaches |= 1L << type.coachOf[seat];
        }

        void release(int seat, int from, int to) {
            taken[seat] &= ~legMask(from, to);
            for (int leg = from; leg < to; leg++) free[leg * type.words + (seat >>> 6)] |= 1L << seat;
            changedCoaches |= 1L << type.coachOf[seat];
        }
    }

    /** Returns a segment as a set of legs. */
    static long legMask(int from, int to) {
        return (to == 64 ? -1L : (1L << to) - 1) & (-1L << from);
    }

    /** An entry of a waitlist, with all that is needed to confirm it later. */
    static final class Waiting {
        final long number;
        final byte[] requestId;
        final int from;
        final int to;
        final byte[] preferences;

        Waiting(long number, byte[] requestId, int from, int to, byte[] preferences) {
            this.number = number;
            this.requestId = requestId;
            this.from = from;
            this.to = to;
            this.preferences = preferences;
        }

        byte[] encode() {
            byte[] value = new byte[3 + preferences.length + requestId.length];
            value[0] = (byte) from;
            value[1] = (byte) to;
            value[2] = (byte) preferences.length;
            System.arraycopy(preferences, 0, value, 3, preferences.length);
            System.arraycopy(requestId, 0, value, 3 + preferences.length, requestId.length);
            return value;
        }

        static Waiting decode(long number, byte[] value) {
            int passengers = value[2];
            byte[] requestId = Arrays.copyOfRange(value, 3 + passengers, value.length);
            return new Waiting(number, requestId, value[0], value[1], Arrays.copyOfRange(value, 3, 3 + passengers));
        }
    }
}
