package peer;

import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.LogAndFailProcessingExceptionHandler;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueBytesStoreSupplier;
import org.apache.kafka.streams.state.Stores;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

/**
 * Sells the seats of Interlock's trains as a Kafka Streams application, tuned for the drain of a backlog.
 *
 * <pre>
 *  train-services ──> plans (global store)
 *  booking-requests ─> book ─> APPLICATION-confirmed, -waitlist, -cancelled, -rejected
 *                       │            └─ windows ─> APPLICATION-occupancy
 *                   inventory ──> changelog
 * </pre>
 */
public final class BookingApplication {
    private BookingApplication() {}

    public static void main(String[] arguments) throws Exception {
        Options options = new Options(arguments);
        boolean hasWindows = options.isOn("windows");
        Progress progress = new Progress();
        KafkaStreams streams = new KafkaStreams(topology(options, hasWindows, progress), settings(options));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        CountDownLatch done = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(30));
            done.countDown();
        }));
        progress.serve(options.number("metrics-port"), streams, hasWindows);
        streams.start();
        done.await();
    }

    private static Topology topology(Options options, boolean hasWindows, Progress progress) throws Exception {
        String application = options.text("application");
        boolean isInMemory = switch (options.text("store")) {
            case "memory" -> true;
            case "rocksdb" -> false;
            default -> throw new IllegalArgumentException("--store is memory or rocksdb");
        };
        Contract contract = new Contract(options.text("registry"));
        StreamsBuilder builder = new StreamsBuilder();
        builder.globalTable(Contract.PLANS, Consumed.with(Serdes.Bytes(), Serdes.ByteArray()),
            Materialized.<Bytes, byte[]>as(Stores.inMemoryKeyValueStore(BookingProcessor.PLANS))
                .withKeySerde(Serdes.Bytes()).withValueSerde(Serdes.ByteArray()));
        if (hasWindows) Occupancy.add(builder, application, isInMemory, progress);
        Topology topology = builder.build(settings(options));
        var bytes = Serdes.ByteArray().deserializer();
        topology.addSource("requests", bytes, bytes, Contract.REQUESTS);
        topology.addProcessor("book", () -> new BookingProcessor(contract, progress), "requests");
        KeyValueBytesStoreSupplier inventory = isInMemory
            ? Stores.inMemoryKeyValueStore(BookingProcessor.INVENTORY)
            : Stores.persistentKeyValueStore(BookingProcessor.INVENTORY);
        topology.addStateStore(new Inventory.Builder(inventory, progress), "book");
        for (Outcome outcome : Outcome.ANSWERS) topology.addSink(outcome.name(), outcome.topic(application), "book");
        return topology;
    }

    private static Properties settings(Options options) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, options.text("application"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.text("bootstrap"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.number("threads"));
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, options.number("commit-ms", 100));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, options.text("state-dir"));
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 2000);
        settings.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, RocksTuning.class);
        settings.put(
            StreamsConfig.PROCESSING_EXCEPTION_HANDLER_CLASS_CONFIG, LogAndFailProcessingExceptionHandler.class);

        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 4000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.RECEIVE_BUFFER_CONFIG), 1 << 20);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.CHECK_CRCS_CONFIG), false);

        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), options.number("linger-ms", 100));
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 128L << 20);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.SEND_BUFFER_CONFIG), 1 << 20);
        return settings;
    }
}
