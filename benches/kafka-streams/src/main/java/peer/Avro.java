package peer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Reads and writes Avro's binary encoding in Confluent's wire format by hand. It works on byte arrays and makes neither
 * strings nor records, which is what costs an Avro library its time.
 */
public final class Avro {
    /** Bytes before the datum: a zero byte and the schema's id. */
    public static final int FRAME_BYTES = 5;

    private Avro() {}

    /** Returns the id of the schema that a value was written with. */
    public static int schemaId(byte[] value) {
        if (value.length < FRAME_BYTES || value[0] != 0) {
            throw new IllegalArgumentException("a value is not in Confluent's wire format");
        }
        return (value[1] & 0xff) << 24 | (value[2] & 0xff) << 16 | (value[3] & 0xff) << 8 | (value[4] & 0xff);
    }

    /** A text within a value, without a copy of it. */
    public static final class Slice {
        byte[] bytes;
        int start;
        int length;

        boolean is(byte[] text) {
            return Arrays.equals(bytes, start, start + length, text, 0, text.length);
        }

        /** Returns the first eight bytes as a number: most codes of stations and classes are no longer. */
        long code() {
            return Avro.code(bytes, start, length);
        }

        byte[] copy() {
            return Arrays.copyOfRange(bytes, start, start + length);
        }

        void set(byte[] text) {
            bytes = text;
            start = 0;
            length = text.length;
        }

        @Override public String toString() {
            return new String(bytes, start, length, StandardCharsets.UTF_8);
        }
    }

    static long code(byte[] bytes, int start, int length) {
        long code = 0;
        for (int i = 0; i < length && i < 8; i++) code = code << 8 | (bytes[start + i] & 0xff);
        return code;
    }

    /** Reads a datum from its beginning. */
    public static final class Reader {
        private byte[] bytes;
        private int next;

        public Reader on(byte[] value) {
            bytes = value;
            next = FRAME_BYTES;
            return this;
        }

        public long readLong() {
            long number = 0;
            int shift = 0;
            byte current;
            do {
                current = bytes[next++];
                number |= (long) (current & 0x7f) << shift;
                shift += 7;
            } while (current < 0);
            return (number >>> 1) ^ -(number & 1);
        }

        public int readInt() {
            return (int) readLong();
        }

        void skipByte() {
            next++;
        }

        void skipText() {
            int length = readInt();
            next += length;
        }

        Slice readText(Slice text) {
            text.length = readInt();
            text.bytes = bytes;
            text.start = next;
            next += text.length;
            return text;
        }

        /** Returns the number of items in an array's next block; none: the array ends. */
        int readBlock() {
            int items = readInt();
            if (items >= 0) return items;
            readLong(); // the block's size in bytes
            return -items;
        }
    }

    /** Writes a value. One writer is used for all values of a processor. */
    static final class Writer {
        private byte[] bytes = new byte[1024];
        private int length;

        Writer start(int schemaId) {
            length = 0;
            bytes[length++] = 0;
            bytes[length++] = (byte) (schemaId >>> 24);
            bytes[length++] = (byte) (schemaId >>> 16);
            bytes[length++] = (byte) (schemaId >>> 8);
            bytes[length++] = (byte) schemaId;
            return this;
        }

        /** Begins a datum that is a part of others, without a frame. */
        Writer startPart() {
            length = 0;
            return this;
        }

        Writer number(long value) {
            makeRoom(10);
            long rest = (value << 1) ^ (value >> 63);
            while ((rest & ~0x7fL) != 0) {
                bytes[length++] = (byte) (rest | 0x80);
                rest >>>= 7;
            }
            bytes[length++] = (byte) rest;
            return this;
        }

        Writer flag(boolean value) {
            makeRoom(1);
            bytes[length++] = (byte) (value ? 1 : 0);
            return this;
        }

        Writer text(byte[] text) {
            return text(text, 0, text.length);
        }

        Writer text(Slice text) {
            return text(text.bytes, text.start, text.length);
        }

        Writer text(byte[] text, int start, int count) {
            return number(count).encoded(text, start, count);
        }

        /** Appends what is encoded already. */
        Writer encoded(byte[] part) {
            return encoded(part, 0, part.length);
        }

        private Writer encoded(byte[] part, int start, int count) {
            makeRoom(count);
            System.arraycopy(part, start, bytes, length, count);
            length += count;
            return this;
        }

        byte[] done() {
            return Arrays.copyOf(bytes, length);
        }

        private void makeRoom(int count) {
            if (length + count > bytes.length) bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, length + count));
        }
    }
}
