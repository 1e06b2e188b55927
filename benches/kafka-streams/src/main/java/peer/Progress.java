package peer;

import com.sun.net.httpserver.HttpServer;
import org.apache.kafka.streams.KafkaStreams;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.LongAdder;

/**
 * Counts how far the application is, and serves that under the names of Interlock's metrics, so that
 * {@code scripts/bench} watches both programs with one loop.
 */
final class Progress {
    private final LongAdder decided = new LongAdder();
    /** Confirmed and cancelled outcomes sent and read again, and their deltas sent and summed. */
    private final LongAdder outcomesSent = new LongAdder();
    private final LongAdder outcomesRead = new LongAdder();
    private final LongAdder deltasSent = new LongAdder();
    private final LongAdder deltasSummed = new LongAdder();

    /** Adds requests that a commit holds. */
    void addDecided(long requests) {
        decided.add(requests);
    }

    void addOutcome() {
        outcomesSent.increment();
    }

    /** Counts an outcome that the windows have read, and the deltas that came of it: one or none. */
    void addRead(int deltas) {
        outcomesRead.increment();
        deltasSent.add(deltas);
    }

    void addSummed() {
        deltasSummed.increment();
    }

    /** Serves {@code /metrics} and {@code /readyz} at a port of this machine. */
    void serve(int port, KafkaStreams streams, boolean hasWindows) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.createContext("/metrics", exchange -> {
            long behind = outcomesSent.sum() - outcomesRead.sum() + deltasSent.sum() - deltasSummed.sum();
            String text = "interlock_records_applied_total{topology=\"booking\"} " + decided.sum() + "\n"
                + (hasWindows ? "interlock_lag_records{topology=\"occupancy\"} " + behind + "\n" : "");
            byte[] body = text.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.createContext("/readyz", exchange -> {
            exchange.sendResponseHeaders(streams.state() == KafkaStreams.State.RUNNING ? 200 : 503, -1);
            exchange.close();
        });
        server.start();
    }
}
