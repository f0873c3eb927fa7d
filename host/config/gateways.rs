//! The doors of a host: gateways for publishers, and the admin server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Producing, Secret, TopicRules};

/// Gateways for publishers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ingest {
    /// The gRPC gateway; none when not configured.
    pub grpc: Option<GrpcIngest>,
    /// The HTTP gateway; none when not configured.
    pub http: Option<HttpIngest>,
    /// Who may publish; with none, everybody may publish everything.
    pub clients: Vec<IngestClient>,
    /// How the gateways write.
    pub producer: Producing,
    /// The rules that events have to keep to be let in; they exist.
    pub validate: TopicRules,
    /// Encrypts the connections of every gateway; none speaks in the clear.
    pub tls: Option<ServerTls>,
    /// Limits of connections, for each gateway.
    pub connections: Connections,
}

/// The gRPC gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcIngest {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Largest event accepted: key, value and headers together.
    pub event_max_bytes: usize,
    /// Events that may wait for the broker at once, over all clients.
    pub in_flight_max: usize,
    /// Calls and streams at once, over all clients.
    pub calls_max: usize,
    /// Calls and streams of one connection at once.
    pub calls_of_connection_max: usize,
}

/// The HTTP gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpIngest {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Largest event accepted: key, value and headers together.
    pub event_max_bytes: usize,
    /// Largest body of a request, compressed and not.
    pub request_max_bytes: usize,
    /// Events of one batch.
    pub batch_max: usize,
    /// Events that may wait for the broker at once, over all clients.
    pub in_flight_max: usize,
    /// Requests at once, over all clients.
    pub requests_max: usize,
    /// How long the body of a request may take to come.
    pub body_timeout: Duration,
    /// How CloudEvents become records.
    pub cloudevents: CloudEventsIngest,
}

/// How CloudEvents that a gateway takes in become records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloudEventsIngest {
    /// The form that they get.
    pub mode: CloudEventsMode,
    /// The attribute that becomes the key where the request gives none.
    pub key: Option<String>,
}

/// The form of a CloudEvent in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CloudEventsMode {
    /// Attributes are headers, the value is the data.
    #[default]
    Binary,
    /// The value is the whole event as JSON.
    Structured,
}

/// Somebody who may publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestClient {
    /// For logs and messages; unique.
    pub name: String,
    /// What it shows with each request.
    pub token: Secret,
    /// Where it may publish.
    pub topics: Vec<TopicRight>,
}

/// The topics that a client may publish to: one, or all that fit a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRight(pub String);

impl TopicRight {
    /// Whether it covers a topic. `*` stands for any run of characters, dots included, and for none.
    #[must_use]
    pub fn covers(&self, topic: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return self.0 == topic;
        };
        let Some(mut topic) = topic.strip_prefix(start) else {
            return false;
        };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return topic.ends_with(part);
            }
            match topic.find(part) {
                Some(at) => topic = &topic[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

/// Certificates of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Its certificate, and those between it and the authority; PEM.
    pub cert: PathBuf,
    /// The key of the first certificate; PEM.
    pub key: PathBuf,
    /// Authorities of the certificates that clients must show; PEM. None asks for none.
    pub client_ca: Option<PathBuf>,
}

/// Limits of the connections of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connections {
    /// At once.
    pub max: usize,
    /// From the connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From then to the end of the head of the first request; with HTTP/1.1, for the head of each request.
    pub header_timeout: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            // A connection costs a file descriptor and some 100 KiB of buffers; a publisher needs one.
            max: 512,
            // A handshake takes a few round trips; the farthest and slowest client needs 2 or 3 s.
            handshake_timeout: Duration::from_secs(10),
            // Clients connect when they have something to send; one that comes back later connects again.
            header_timeout: Duration::from_secs(30),
        }
    }
}

/// Where metrics, health and the versions of plugins are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// What a request must show, except for health; none on loopback only.
    pub token: Option<Secret>,
    /// Encrypts; none speaks in the clear.
    pub tls: Option<ServerTls>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_covers_a_name_or_what_fits_its_pattern() {
        for (right, topic, covered) in [
            ("orders", "orders", true),
            ("orders", "orders.eu", false),
            ("orders", "order", false),
            ("*", "orders", true),
            ("orders.*", "orders.eu.paid", true),
            ("orders.*", "orders", false),
            ("orders*", "orders", true),
            ("*.paid", "orders.eu.paid", true),
            ("*.paid", "orders.paid.eu", false),
            ("orders.*.paid", "orders.eu.paid", true),
            ("orders.*.paid", "orders.paid", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1c2b", false),
            ("a**b", "ab", true),
        ] {
            let found = TopicRight(right.to_owned()).covers(topic);
            assert_eq!(found, covered, "{right} {topic}");
        }
    }
}
