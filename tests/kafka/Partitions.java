// Where Kafka's own Java client sends keys: one line for each key that is read, in hexadecimal, with the partition that a
// real producer was told by the broker, and the one that the client's partitioner computes.
//
// Arguments: bootstrap.servers, topic, file of keys. Run from its source: java -cp 'jars/*' Partitions.java ...

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Partitions {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        List<byte[]> keys = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of(args[2]))) {
            keys.add(HexFormat.of().parseHex(line));
        }
        ByteArraySerializer bytes = new ByteArraySerializer();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, bytes, bytes)) {
            int partitions = producer.partitionsFor(args[1]).size();
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (byte[] key : keys) {
                sent.add(producer.send(new ProducerRecord<>(args[1], key, new byte[0])));
            }
            for (int at = 0; at < keys.size(); at++) {
                int computed = BuiltInPartitioner.partitionForKey(keys.get(at), partitions);
                System.out.println(sent.get(at).get().partition() + " " + computed);
            }
        }
    }
}
