//! The gateways for publishers, and the one publisher that they share.

use std::sync::Arc;

use super::DaemonError;
use super::rules::AllRules;
use crate::config::Config;
use crate::ingest::{Counts, GatewayError, GrpcGateway, HttpGateway, Shared, TopicRules};
use crate::kafka::publisher::Publisher;
use crate::telemetry::traces::Traces;

/// The gateways that are configured, bound and not serving yet.
pub(super) struct Gateways {
    pub(super) grpc: Option<GrpcGateway>,
    pub(super) http: Option<HttpGateway>,
}

impl Gateways {
    /// They share one publisher; where there is none of them, there is none of it.
    pub(super) fn bind(
        config: &Config,
        rules: &AllRules,
        traces: Option<&Traces>,
    ) -> Result<(Self, Option<Arc<Publisher>>), DaemonError> {
        let ingest = &config.ingest;
        if ingest.grpc.is_none() && ingest.http.is_none() {
            let none = Self {
                grpc: None,
                http: None,
            };
            return Ok((none, None));
        }
        let publisher = Arc::new(Publisher::with(&config.kafka, &ingest.producer)?);
        let shared = Shared::new(ingest, &config.correlation, Arc::clone(&publisher));
        let shared = shared.with_rules(TopicRules::new(&ingest.validate, rules));
        let shared = Arc::new(shared.with_traces(traces.cloned()));
        let grpc = ingest.grpc.as_ref();
        let grpc = grpc.map(|grpc| GrpcGateway::bind(grpc, Arc::clone(&shared)));
        let http = ingest.http.as_ref();
        let http = http.map(|http| HttpGateway::bind(http, Arc::clone(&shared)));
        let gateways = Self {
            grpc: grpc.transpose()?,
            http: http.transpose()?,
        };
        Ok((gateways, Some(publisher)))
    }

    /// Events answered so far, by gateway.
    pub(super) fn counts(&self) -> Vec<(&'static str, Arc<Counts>)> {
        let grpc = self.grpc.as_ref().map(|grpc| ("grpc", grpc.counts()));
        let http = self.http.as_ref().map(|http| ("http", http.counts()));
        grpc.into_iter().chain(http).collect()
    }
}

/// Serves a gateway until it ends.
pub(super) async fn to_its_end(served: impl Future<Output = Result<(), GatewayError>>) {
    if let Err(error) = served.await {
        tracing::error!(%error, "a gateway ended badly");
    }
}
