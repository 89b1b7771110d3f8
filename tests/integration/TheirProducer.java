// A producer as another team writes it: Kafka's own Java client and Apicurio's serializers. Nothing of Roost is in it.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.generic.GenericRecordBuilder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

public final class TheirProducer {
    /** Sends one tweet by the settings and the schema in two files, and prints where it lies. */
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        try (var file = Files.newBufferedReader(Path.of(arguments[0]))) {
            settings.load(file);
        }
        Schema schema = new Schema.Parser().parse(Path.of(arguments[1]).toFile());
        long now = System.currentTimeMillis();
        GenericRecord tweet = new GenericRecordBuilder(schema)
            .set("candidate_id", "t:java")
            .set("event_time_ms", now)
            .set("sequence", 0L)
            .set("author_id", "a:9")
            .set("created_ms", now)
            .set("text", "Uma garça no telhado")
            .build();
        try (var producer = new KafkaProducer<String, GenericRecord>(settings)) {
            var written = producer.send(new ProducerRecord<>("tweets", "t:java", tweet)).get();
            System.out.println(written.partition() + " " + written.offset());
        }
    }
}
