package peer.tools;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import peer.Avro;
import peer.Contract;
import peer.Options;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/**
 * Sends recorded requests at a constant rate, and measures how long the outcomes of either program take: from the time
 * at which a request is meant to be sent, whatever became of those before, to the arrival of its first outcome at a
 * reader of committed records. An outcome names its request by partition and offset.
 *
 * <p>Prints {@code begin} when the warm-up is over, {@code end} after the last request, then the figures as JSON.
 */
public final class Meter {
    private static final long NANOS = 1_000_000_000;
    /** Outcomes that have not come so long after the last one do not come: repetitions may have none. */
    private static final long SILENCE = 3 * NANOS;

    private final int rate;
    private final List<byte[][]> requests = new ArrayList<>();
    private final int warmUp;
    /** Numbers in an outcome before the offset of its request. */
    private final int numbersBefore;
    private final long[] firstOffsets;
    /** By partition and offset: the number of the request, from 1, and when its outcome came. */
    private final int[][] sent;
    private final long[][] arrived;
    private volatile long start;
    private volatile long finished;

    private Meter(Options options, Log log) throws Exception {
        rate = options.number("rate");
        int seconds = options.number("seconds");
        int warmUpSeconds = options.number("warm-up");
        warmUp = rate * warmUpSeconds;
        numbersBefore = options.number("numbers-before");
        Path file = Path.of(options.text("requests"));
        try (var in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file)))) {
            while (requests.size() < rate * (warmUpSeconds + seconds)) {
                requests.add(new byte[][] {in.readNBytes(in.readInt()), in.readNBytes(in.readInt())});
            }
        }
        int partitions = log.partitions(Contract.REQUESTS);
        firstOffsets = new long[partitions];
        sent = new int[partitions][requests.size()];
        arrived = new long[partitions][requests.size()];
        try (KafkaConsumer<byte[], byte[]> consumer = log.consumer()) {
            List<TopicPartition> sources = partitionsOf(List.of(Contract.REQUESTS), partitions);
            consumer.endOffsets(sources).forEach((source, end) -> firstOffsets[source.partition()] = end);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Options options = new Options(arguments);
        Log log = new Log(options.text("bootstrap"));
        Meter meter = new Meter(options, log);
        List<String> topics = Arrays.asList(options.text("outcomes").split(","));
        try (KafkaConsumer<byte[], byte[]> consumer = reader(options.text("bootstrap"))) {
            List<TopicPartition> sources = partitionsOf(topics, meter.firstOffsets.length);
            consumer.assign(sources);
            consumer.seekToEnd(sources);
            sources.forEach(consumer::position);
            Thread reading = new Thread(() -> meter.read(consumer), "read");
            reading.start();
            meter.send(options.text("bootstrap"));
            reading.join();
        }
        meter.report();
    }

    private static List<TopicPartition> partitionsOf(List<String> topics, int partitions) {
        List<TopicPartition> all = new ArrayList<>();
        for (String topic : topics) {
            for (int partition = 0; partition < partitions; partition++) all.add(new TopicPartition(topic, partition));
        }
        return all;
    }

    private static KafkaConsumer<byte[], byte[]> reader(String bootstrap) {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed",
            "max.poll.records", "5000", "enable.auto.commit", "false");
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void send(String bootstrap) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", bootstrap, "linger.ms", "1", "compression.type", "lz4");
        Exception[] failure = new Exception[1];
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.partitionsFor(Contract.REQUESTS);
            start = System.nanoTime() + NANOS / 10;
            for (int i = 0; i < requests.size(); i++) {
                for (long wait; (wait = intended(i) - System.nanoTime()) > 0; ) LockSupport.parkNanos(wait);
                if (i == warmUp) System.out.println("begin");
                int number = i + 1;
                byte[][] request = requests.get(i);
                producer.send(new ProducerRecord<>(Contract.REQUESTS, request[0], request[1]), (record, error) -> {
                    if (error != null) failure[0] = error;
                    else sent[record.partition()][(int) (record.offset() - firstOffsets[record.partition()])] = number;
                });
            }
        }
        if (failure[0] != null) throw failure[0];
        finished = System.nanoTime();
        System.out.println("end");
    }

    /** Returns when a request is meant to be sent. */
    private long intended(int request) {
        return start + (long) (request * (double) NANOS / rate);
    }

    private void read(KafkaConsumer<byte[], byte[]> consumer) {
        Avro.Reader in = new Avro.Reader();
        long last = System.nanoTime();
        while (finished == 0 || System.nanoTime() - Math.max(last, finished) < SILENCE) {
            var outcomes = consumer.poll(Duration.ofMillis(100));
            long now = System.nanoTime();
            if (!outcomes.isEmpty()) last = now;
            for (ConsumerRecord<byte[], byte[]> outcome : outcomes) {
                in.on(outcome.value());
                for (int i = 0; i < numbersBefore; i++) in.readLong();
                long offset = in.readLong() - firstOffsets[outcome.partition()];
                if (offset < 0 || offset >= requests.size()) continue;
                long[] times = arrived[outcome.partition()];
                if (times[(int) offset] == 0) times[(int) offset] = now;
            }
        }
    }

    private void report() {
        long[] latencies = new long[requests.size() - warmUp];
        int answered = 0;
        long last = start;
        for (int partition = 0; partition < sent.length; partition++) {
            for (int offset = 0; offset < sent[partition].length; offset++) {
                int request = sent[partition][offset] - 1;
                long came = arrived[partition][offset];
                if (request < warmUp || came == 0) continue;
                latencies[answered++] = came - intended(request);
                last = Math.max(last, came);
            }
        }
        long[] sorted = Arrays.copyOf(latencies, answered);
        Arrays.sort(sorted);
        double elapsed = (last - intended(warmUp)) / (double) NANOS;
        System.out.printf(Locale.ROOT,
            "{\"latency\": {\"p50_us\": %d, \"p99_us\": %d, \"p999_us\": %d, \"max_us\": %d}, "
                + "\"throughput_per_s\": %.1f, \"elapsed_s\": %.3f, \"requests\": %d, \"answered\": %d}%n",
            micros(sorted, 0.5), micros(sorted, 0.99), micros(sorted, 0.999), micros(sorted, 1),
            answered / elapsed, elapsed, latencies.length, answered);
    }

    private static long micros(long[] sorted, double share) {
        if (sorted.length == 0) throw new IllegalStateException("no outcome came");
        return sorted[Math.max(0, (int) Math.ceil(sorted.length * share) - 1)] / 1000;
    }
}
