package peer;

import org.apache.avro.Schema;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The topics and schemas of Interlock that the application reads. */
public final class Contract {
    public static final String REQUESTS = "booking-requests";
    public static final String PLANS = "train-services";

    /** The fields that {@link BookingProcessor} reads by position, as the schemas have them. */
    static final List<String> BOOKING_FIELDS = List.of(
        "request_id", "train_id", "travel_date", "user_id", "from_station", "to_station", "travel_class", "quota",
        "passengers", "partial_confirmation", "requested_at");
    static final List<String> PASSENGER_FIELDS = List.of("name", "age", "berth_preference", "preference_is_hard");
    static final List<String> CANCELLATION_FIELDS = List.of(
        "request_id", "train_id", "travel_date", "booking_request_id", "passengers", "user_id", "requested_at");

    private static final Pattern ID = Pattern.compile("\"id\"\\s*:\\s*(\\d+)");

    /** Ids that the registry gave to the schemas of the requests. */
    public final int bookingId;
    public final int cancellationId;

    /** Asks the registry for the ids, and checks that the schemas have the fields that are read by position. */
    public Contract(String registry) throws IOException, InterruptedException {
        Schema booking = contractSchema("booking_request");
        Schema passenger = booking.getField("passengers").schema().getElementType();
        require(booking, BOOKING_FIELDS);
        require(passenger, PASSENGER_FIELDS);
        require(contractSchema("cancellation_request"), CANCELLATION_FIELDS);
        bookingId = idOf(registry, "interlock.BookingRequest");
        cancellationId = idOf(registry, "interlock.CancellationRequest");
    }

    private static void require(Schema schema, List<String> fields) {
        List<String> found = schema.getFields().stream().map(Schema.Field::name).toList();
        if (!found.equals(fields)) {
            String name = schema.getName();
            throw new IllegalStateException(name + " has the fields " + found + ", but " + fields + " are read");
        }
    }

    private static int idOf(String registry, String record) throws IOException, InterruptedException {
        URI address = URI.create(registry + "/subjects/" + REQUESTS + "-" + record + "/versions/latest");
        HttpResponse<String> answer = HttpClient.newHttpClient()
            .send(HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
        Matcher id = ID.matcher(answer.body());
        if (answer.statusCode() != 200 || !id.find()) {
            throw new IOException(address + " answers " + answer.statusCode() + ": " + answer.body());
        }
        return Integer.parseInt(id.group(1));
    }

    /** Returns a schema of Interlock's contract, by its file's name. */
    public static Schema contractSchema(String name) {
        return schema("/contract/" + name + ".avsc");
    }

    static Schema schema(String file) {
        try (InputStream text = Contract.class.getResourceAsStream(file)) {
            return new Schema.Parser().parse(new String(text.readAllBytes(), StandardCharsets.UTF_8));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
