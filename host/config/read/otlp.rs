//! Tracing, by the environment variables that OpenTelemetry gives every program. An empty one counts as unset, as its
//! specification says. It must not know what is traced.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use super::section::Context;
use crate::config::finding::Place;
use crate::config::{Collector, OtlpProtocol, Sampler, Secret, SpanQueue, Tracing};

/// What OpenTelemetry's specification has where nothing is said.
const TIMEOUT_MS: u64 = 10_000;
const DELAY_MS: u64 = 5_000;
const EXPORT_TIMEOUT_MS: u64 = 30_000;
const SPANS_MAX: u64 = 2_048;
const BATCH_MAX: u64 = 512;

/// Times beyond a day are mistakes of unit.
const TIMES_MS: RangeInclusive<u64> = 1..=24 * 60 * 60 * 1_000;

/// A span takes about a kilobyte, so this is a gigabyte.
const SPANS: RangeInclusive<u64> = 1..=1_000_000;

/// A variable that has a value.
struct Variable<'e> {
    name: String,
    value: &'e str,
}

/// Reads them. None where nothing asks for tracing, or something turns it off.
pub(super) fn read(context: &mut Context<'_>) -> Option<Tracing> {
    if of(context, "OTEL_SDK_DISABLED").is_some_and(|v| v.value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let exporter = of(context, "OTEL_TRACES_EXPORTER");
    let wanted = match exporter.as_ref().map(|exporter| exporter.value) {
        None => otlp(context, "ENDPOINT").is_some(),
        Some("none") => false,
        Some("otlp") => true,
        Some(_) => {
            problem(context, &exporter, "is `otlp` or `none`");
            false
        }
    };
    if !wanted {
        return None;
    }
    let collector = collector(context);
    Some(Tracing {
        resource: resource(context),
        sampler: sampler(context),
        queue: queue(context),
        collector: collector?,
    })
}

fn of<'e>(context: &Context<'e>, name: &str) -> Option<Variable<'e>> {
    let value = context.env.get(name).map(|value| value.trim());
    value
        .filter(|value| !value.is_empty())
        .map(|value| Variable {
            name: name.to_owned(),
            value,
        })
}

/// The variable for traces, or the one for all signals.
fn otlp<'e>(context: &Context<'e>, what: &str) -> Option<Variable<'e>> {
    let of_traces = of(context, &format!("OTEL_EXPORTER_OTLP_TRACES_{what}"));
    of_traces.or_else(|| of(context, &format!("OTEL_EXPORTER_OTLP_{what}")))
}

fn problem(context: &mut Context<'_>, variable: &Option<Variable<'_>>, message: &str) {
    if let Some(variable) = variable {
        let place = Place::Override(variable.name.clone());
        context.problem(&place, message);
    }
}

fn collector(context: &mut Context<'_>) -> Option<Collector> {
    let protocol = otlp(context, "PROTOCOL");
    let spoken = match protocol.as_ref().map(|protocol| protocol.value) {
        None | Some("http/protobuf") => OtlpProtocol::HttpProtobuf,
        Some("grpc") => OtlpProtocol::Grpc,
        Some(_) => {
            problem(context, &protocol, "is `grpc` or `http/protobuf`");
            return None;
        }
    };
    for unknown in ["CLIENT_KEY", "CLIENT_CERTIFICATE"] {
        let variable = otlp(context, unknown);
        problem(
            context,
            &variable,
            "is not supported: the host shows a collector no certificate; unset it, and show a token by \
             OTEL_EXPORTER_OTLP_HEADERS",
        );
    }
    let compression = otlp(context, "COMPRESSION");
    let gzip = match compression.as_ref().map(|compression| compression.value) {
        None | Some("none") => false,
        Some("gzip") => true,
        Some(_) => {
            problem(context, &compression, "is `gzip` or `none`");
            false
        }
    };
    let timeout = otlp(context, "TIMEOUT");
    Some(Collector {
        protocol: spoken,
        endpoint: endpoint(context, spoken)?,
        certificate: otlp(context, "CERTIFICATE").map(|file| PathBuf::from(file.value)),
        headers: headers(context),
        gzip,
        timeout: millis(context, timeout, TIMEOUT_MS),
    })
}

/// The address for traces as it stands, or the path for traces below the address for all signals.
fn endpoint(context: &mut Context<'_>, protocol: OtlpProtocol) -> Option<Uri> {
    let own = of(context, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let is_own = own.is_some();
    let variable = own.or_else(|| of(context, "OTEL_EXPORTER_OTLP_ENDPOINT"));
    let given = variable.as_ref().map(|variable| variable.value);
    let text = match (protocol, given) {
        (OtlpProtocol::Grpc, None) => "http://localhost:4317".to_owned(),
        (OtlpProtocol::HttpProtobuf, None) => "http://localhost:4318/v1/traces".to_owned(),
        // Without a scheme another variable says whether it is encrypted.
        (OtlpProtocol::Grpc, Some(given)) if !given.contains("://") => {
            let insecure = otlp(context, "INSECURE");
            let plain = insecure.is_some_and(|v| v.value.eq_ignore_ascii_case("true"));
            format!("{}://{given}", if plain { "http" } else { "https" })
        }
        (OtlpProtocol::HttpProtobuf, Some(given)) if !is_own => {
            format!("{}/v1/traces", given.trim_end_matches('/'))
        }
        (_, Some(given)) => given.to_owned(),
    };
    // An address stands in log lines.
    if text.contains('@') {
        problem(
            context,
            &variable,
            "holds a user name or a password: show them by OTEL_EXPORTER_OTLP_HEADERS",
        );
        return None;
    }
    let uri = Uri::from_str(&text)
        .ok()
        .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if uri.is_none() {
        problem(
            context,
            &variable,
            "is no address of a collector: write it like `http://localhost:4317`",
        );
    }
    uri
}

/// `name=value` pairs with commas between them, values percent-encoded.
fn pairs(context: &mut Context<'_>, variable: Option<Variable<'_>>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let given = variable.as_ref().map_or("", |variable| variable.value);
    for pair in given.split(',').filter(|pair| !pair.trim().is_empty()) {
        let decoded = |text: &str| {
            Some(
                percent_decode_str(text.trim())
                    .decode_utf8()
                    .ok()?
                    .into_owned(),
            )
        };
        let pair = pair.split_once('=').and_then(|(name, value)| {
            Some((decoded(name)?, decoded(value)?)).filter(|(name, _)| !name.is_empty())
        });
        match pair {
            Some(pair) => pairs.push(pair),
            // Its value may be a token, so it is not repeated.
            None => problem(
                context,
                &variable,
                "is written `name=value,name=value`, with commas and percent signs in values as `%2C` and `%25`",
            ),
        }
    }
    pairs
}

fn headers(context: &mut Context<'_>) -> Vec<(String, Secret)> {
    let variable = otlp(context, "HEADERS");
    let name = variable.as_ref().map(|variable| variable.name.clone());
    let mut headers = Vec::new();
    for (header, value) in pairs(context, variable) {
        let header = header.to_ascii_lowercase();
        let fits = HeaderName::from_str(&header).is_ok() && HeaderValue::from_str(&value).is_ok();
        if fits {
            headers.push((header, Secret::new(value)));
        } else if let Some(name) = &name {
            let message = format!("`{header}` and its value cannot be sent as a header; mend it");
            context.problem(&Place::Override(name.clone()), message);
        }
    }
    headers
}

fn resource(context: &mut Context<'_>) -> Vec<(String, String)> {
    let variable = of(context, "OTEL_RESOURCE_ATTRIBUTES");
    let mut resource = pairs(context, variable);
    let has =
        |resource: &[(String, String)], name: &str| resource.iter().any(|(own, _)| own == name);
    if let Some(name) = of(context, "OTEL_SERVICE_NAME") {
        resource.retain(|(own, _)| own != "service.name");
        resource.push(("service.name".to_owned(), name.value.to_owned()));
    }
    for (name, value) in [
        ("service.name", env!("CARGO_PKG_NAME")),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ] {
        if !has(&resource, name) {
            resource.push((name.to_owned(), value.to_owned()));
        }
    }
    resource
}

fn sampler(context: &mut Context<'_>) -> Sampler {
    let variable = of(context, "OTEL_TRACES_SAMPLER");
    let name = variable
        .as_ref()
        .map_or("parentbased_always_on", |v| v.value);
    let (parent_based, own) = match name.strip_prefix("parentbased_") {
        Some(own) => (true, own),
        None => (false, name),
    };
    let ratio = match own {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => ratio(context),
        _ => {
            problem(
                context,
                &variable,
                "is `always_on`, `always_off`, `traceidratio`, or one of these after `parentbased_`",
            );
            0.0
        }
    };
    Sampler {
        parent_based,
        ratio,
    }
}

fn ratio(context: &mut Context<'_>) -> f64 {
    let variable = of(context, "OTEL_TRACES_SAMPLER_ARG");
    let given = variable.as_ref().map_or("1", |variable| variable.value);
    let ratio = given
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.unwrap_or_else(|| {
        problem(
            context,
            &variable,
            "is the share of traces that are recorded, from 0 to 1",
        );
        0.0
    })
}

fn queue(context: &mut Context<'_>) -> SpanQueue {
    let [spans_max, batch_max, delay, export_timeout] = [
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_EXPORT_TIMEOUT",
    ]
    .map(|name| of(context, name));
    let spans_max = number(context, spans_max, SPANS_MAX, SPANS, "spans") as usize;
    let batch_max = number(context, batch_max, BATCH_MAX, SPANS, "spans") as usize;
    SpanQueue {
        spans_max,
        batch_max: batch_max.min(spans_max),
        delay: millis(context, delay, DELAY_MS),
        export_timeout: millis(context, export_timeout, EXPORT_TIMEOUT_MS),
    }
}

fn millis(context: &mut Context<'_>, variable: Option<Variable<'_>>, default: u64) -> Duration {
    Duration::from_millis(number(context, variable, default, TIMES_MS, "milliseconds"))
}

fn number(
    context: &mut Context<'_>,
    variable: Option<Variable<'_>>,
    default: u64,
    allowed: RangeInclusive<u64>,
    unit: &str,
) -> u64 {
    let Some(given) = variable.as_ref().map(|variable| variable.value) else {
        return default;
    };
    let number = given.parse().ok().filter(|number| allowed.contains(number));
    number.unwrap_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        let message = format!("is a number of {unit} from {least} to {most}");
        problem(context, &variable, &message);
        default
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigError, parse};

    fn read(env: &[(&str, &str)]) -> Result<Option<Tracing>, ConfigError> {
        let env: Vec<_> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let text =
            "kafka: { brokers: \"k:9092\" }\ningest: { grpc: { listen: \"127.0.0.1:0\" } }\n";
        let config = parse(
            text,
            "m.yaml",
            std::path::Path::new(""),
            env.into_iter(),
            &[],
        )?;
        Ok(config.tracing)
    }

    fn tracing(env: &[(&str, &str)]) -> Tracing {
        read(env).unwrap().expect("tracing is on")
    }

    #[test]
    fn an_endpoint_turns_it_on_and_the_standard_variables_turn_it_off() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        assert!(read(&[on]).unwrap().is_some());
        assert_eq!(read(&[on, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(read(&[on, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let by_default = tracing(&[("OTEL_TRACES_EXPORTER", "otlp")]);
        let endpoint = by_default.collector.endpoint.to_string();
        assert_eq!(endpoint, "http://localhost:4318/v1/traces");
    }

    #[test]
    fn the_address_is_completed_as_the_specification_says() {
        let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        for (env, endpoint) in [
            (vec![(all, "http://c:4318/")], "http://c:4318/v1/traces"),
            (vec![(all, "http://c/x")], "http://c/x/v1/traces"),
            (
                vec![(all, "http://c"), (traces, "http://t/own")],
                "http://t/own",
            ),
            (vec![(all, "https://c:4317"), grpc], "https://c:4317/"),
            (vec![(all, "c:4317"), grpc], "https://c:4317/"),
            (vec![(all, "c:4317"), grpc, insecure], "http://c:4317/"),
        ] {
            assert_eq!(tracing(&env).collector.endpoint.to_string(), endpoint);
        }
    }

    #[test]
    fn everything_else_is_read_too() {
        let all = tracing(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20t, x=1",
            ),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "700"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_SERVICE_NAME", "orders"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%2Cb"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
        ]);
        let headers = all.collector.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.reveal()))
            .collect();
        assert_eq!(headers, [("authorization", "Bearer t"), ("x", "1")]);
        assert_eq!(all.collector.timeout, Duration::from_millis(700));
        assert!(all.collector.gzip);
        let said = |name: &str| {
            all.resource
                .iter()
                .find(|(own, _)| own == name)
                .unwrap()
                .1
                .as_str()
        };
        assert_eq!((said("service.name"), said("team")), ("orders", "a,b"));
        let sampler = Sampler {
            parent_based: true,
            ratio: 0.25,
        };
        assert_eq!(all.sampler, sampler);
        assert_eq!((all.queue.spans_max, all.queue.batch_max), (10, 10));
        assert!(
            !format!("{all:?}").contains("Bearer"),
            "a token is nowhere printed"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_the_name_of_its_variable() {
        for (name, value) in [
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://me:secret@c"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "token"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "7"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ] {
            let env = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                (name, value),
            ];
            let refused = read(&env).expect_err(name);
            let [finding] = &refused.findings[..] else {
                panic!("{refused}")
            };
            assert_eq!((finding.file.as_str(), finding.line), (name, 0));
        }
    }
}
