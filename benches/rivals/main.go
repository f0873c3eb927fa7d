// Reads one topic to its end with a Go client, parses each event as the analytics plugin does, counts it by
// type and minute, and commits what it has counted. Prints one JSON line: events, seconds, processor seconds.
//
//	rivals kafka-go|sarama|franz-go BROKER TOPIC GROUP EVENTS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

type event struct {
	ID        string            `json:"id"`
	EventType string            `json:"event_type"`
	UserID    string            `json:"user_id"`
	Timestamp int64             `json:"timestamp"`
	Metadata  map[string]string `json:"metadata"`
}

type window struct {
	eventType string
	start     int64
}

// counter is what each service would keep in memory. Partitions are read in parallel by sarama.
type counter struct {
	sync.Mutex
	counts      map[window]int
	seen        int
	first, last time.Time
}

func (c *counter) take(value []byte) int {
	var e event
	bad := json.Unmarshal(value, &e) != nil
	c.Lock()
	defer c.Unlock()
	if c.seen == 0 {
		c.first = time.Now()
	}
	if !bad {
		c.counts[window{e.EventType, e.Timestamp - e.Timestamp%60_000}]++
	}
	c.seen++
	c.last = time.Now()
	return c.seen
}

func main() {
	if len(os.Args) != 6 {
		log.Fatal("usage: rivals kafka-go|sarama|franz-go BROKER TOPIC GROUP EVENTS")
	}
	client, broker, topic, group := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	events, err := strconv.Atoi(os.Args[5])
	if err != nil {
		log.Fatal(err)
	}
	c := &counter{counts: map[window]int{}}
	read := map[string]func(*counter, string, string, string, int) error{
		"kafka-go": kafkaGo, "sarama": saramaGroup, "franz-go": franzGo,
	}[client]
	if read == nil {
		log.Fatalf("unknown client %q", client)
	}
	if err := read(c, broker, topic, group, events); err != nil {
		log.Fatal(err)
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	fmt.Printf("{\"events\":%d,\"seconds\":%.3f,\"cpu_seconds\":%.3f}\n",
		c.seen, c.last.Sub(c.first).Seconds(), cpu.Seconds())
}

// kafkaGo commits in the background each second, as its documentation advises for throughput.
func kafkaGo(c *counter, broker, topic, group string, events int) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{broker}, Topic: topic, GroupID: group, StartOffset: kafka.FirstOffset,
		MinBytes: 1, MaxBytes: 16 << 20, QueueCapacity: 10_000, CommitInterval: time.Second,
	})
	defer reader.Close()
	for {
		message, err := reader.ReadMessage(context.Background())
		if err != nil {
			return err
		}
		if c.take(message.Value) >= events {
			return nil
		}
	}
}

type groupHandler struct {
	c      *counter
	events int
	done   context.CancelFunc
}

func (groupHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (groupHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h groupHandler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			n := h.c.take(message.Value)
			s.MarkMessage(message, "")
			if n >= h.events {
				h.done()
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

// saramaGroup marks each message and lets sarama commit each second, its default.
func saramaGroup(c *counter, broker, topic, group string, events int) error {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.ChannelBufferSize = 1024
	config.Consumer.Fetch.Default = 1 << 20
	consumer, err := sarama.NewConsumerGroup([]string{broker}, group, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	ctx, done := context.WithCancel(context.Background())
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{topic}, groupHandler{c, events, done}); err != nil {
			return err
		}
	}
	return nil
}

// franzGo marks records after each poll and commits them each second.
func franzGo(c *counter, broker, topic, group string, events int) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(broker), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(context.Background())
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		seen := 0
		fetches.EachRecord(func(record *kgo.Record) {
			seen = c.take(record.Value)
			client.MarkCommitRecords(record)
		})
		if seen >= events {
			return nil
		}
	}
}
