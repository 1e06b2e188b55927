package peer.tools;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import peer.Options;
import peer.Outcome;

import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Creates the topics that an application writes. Kafka Streams creates only its own, for changelogs. */
public final class Topics {
    private Topics() {}

    public static void main(String[] arguments) throws Exception {
        Options options = new Options(arguments);
        int partitions = options.number("partitions");
        List<NewTopic> topics = Arrays.stream(Outcome.values())
            .map(outcome -> new NewTopic(outcome.topic(options.text("application")), partitions, (short) 1)).toList();
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", options.text("bootstrap")))) {
            admin.createTopics(topics).all().get();
        }
    }
}
