package peer;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/** A set of 64-bit hashes, open-addressed. A key that it does not contain was never added. */
final class Fingerprints {
    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    /** Length of the key of a UUID: its kind and 16 bytes. */
    private static final int UUID_KEY_BYTES = 17;

    private long[] slots = new long[1 << 14];
    private int count;

    boolean contains(byte[] key) {
        return slots[slotOf(hash(key))] != 0;
    }

    void add(byte[] key) {
        add(hash(key));
    }

    private void add(long hash) {
        int slot = slotOf(hash);
        if (slots[slot] != 0) return;
        slots[slot] = hash;
        if (++count > slots.length / 2) grow();
    }

    private void grow() {
        long[] old = slots;
        slots = new long[2 * old.length];
        count = 0;
        for (long hash : old) if (hash != 0) add(hash);
    }

    /** Returns the slot that holds the hash, or the free one where it belongs. */
    private int slotOf(long hash) {
        int mask = slots.length - 1;
        int slot = (int) hash & mask;
        while (slots[slot] != 0 && slots[slot] != hash) slot = (slot + 1) & mask;
        return slot;
    }

    /** Returns a hash other than 0, which marks a free slot. */
    private static long hash(byte[] key) {
        long hash = key.length;
        if (key.length == UUID_KEY_BYTES) {
            hash = (long) LONG.get(key, 1) * 0x9E3779B97F4A7C15L ^ (long) LONG.get(key, 9);
        } else {
            for (byte value : key) hash = (hash ^ value) * 0x100000001b3L;
        }
        hash = (hash ^ (hash >>> 32)) * 0xD6E8FEB86659FD93L;
        hash ^= hash >>> 32;
        return hash == 0 ? 1 : hash;
    }
}
