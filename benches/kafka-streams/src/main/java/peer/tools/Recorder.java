package peer.tools;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import peer.Contract;
import peer.Options;

import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Writes the requests that are in Kafka to a file, in the order in which they were appended, for {@link Meter}: for
 * each the length of its key and the key, the length of its value and the value.
 */
public final class Recorder {
    private Recorder() {}

    public static void main(String[] arguments) throws Exception {
        Options options = new Options(arguments);
        Log log = new Log(options.text("bootstrap"));
        List<ConsumerRecord<byte[], byte[]>> requests = new ArrayList<>();
        for (int partition = 0; partition < log.partitions(Contract.REQUESTS); partition++) {
            log.read(Contract.REQUESTS, partition, requests::add);
        }
        // The sort is stable, so the requests of a partition keep their order.
        requests.sort(Comparator.comparingLong(ConsumerRecord::timestamp));
        Path file = Path.of(options.text("to"));
        try (var out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(file)))) {
            for (ConsumerRecord<byte[], byte[]> request : requests) write(out, request);
        }
    }

    private static void write(DataOutputStream out, ConsumerRecord<byte[], byte[]> request) {
        try {
            out.writeInt(request.key().length);
            out.write(request.key());
            out.writeInt(request.value().length);
            out.write(request.value());
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
