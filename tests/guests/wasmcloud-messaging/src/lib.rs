//! A component for wasmCloud: it replies to what can be replied to. What the message says is done besides.
//!
//! `fail` publishes and then fails, `trap` panics, `request` asks and publishes what it is told.

wit_bindgen::generate!({
    path: "wit",
    inline: "
        package guests:wasmcloud-messaging;

        world plugin {
            import wasmcloud:messaging/consumer@0.2.0;
            export wasmcloud:messaging/handler@0.2.0;
        }
    ",
    world: "guests:wasmcloud-messaging/plugin",
    generate_all,
});

use exports::wasmcloud::messaging::handler::Guest;
use wasmcloud::messaging::consumer;
use wasmcloud::messaging::types::BrokerMessage;

struct Plugin;

fn publish(subject: &str, body: Vec<u8>) -> Result<(), String> {
    consumer::publish(&BrokerMessage {
        subject: subject.to_owned(),
        body,
        reply_to: Some("answers".to_owned()),
    })
}

impl Guest for Plugin {
    fn handle_message(message: BrokerMessage) -> Result<(), String> {
        let reply_to = message.reply_to.as_deref().unwrap_or("echo");
        match message.body.as_slice() {
            b"fail" => {
                publish(reply_to, b"never seen".to_vec())?;
                Err("the message said so".to_owned())
            }
            b"trap" => panic!("the message said so"),
            b"request" => {
                let answer = consumer::request("echo", b"?", 100);
                publish(reply_to, format!("{:?}", answer.err()).into_bytes())
            }
            body => {
                let text = String::from_utf8_lossy(body);
                publish(reply_to, format!("{} {text}", message.subject).into_bytes())
            }
        }
    }
}

export!(Plugin);
