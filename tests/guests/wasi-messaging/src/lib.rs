//! A component for another host: `wasi:messaging` and nothing of Millrace. What the message says is done.
//!
//! `tell` sends what can be seen of it to `echo`; `relay:TOPIC` sends it on; `edit` sends one that was changed in
//! every way. `timeout`, `connection`, `denied` and `other` send and then fail so, and `trap` panics. `leak` keeps
//! its handle for good, and `hoard:BYTES` messages of so many bytes, until it is stopped.

wit_bindgen::generate!({
    path: ["../../../wit/deps/config", "../../../wit/deps/logging", "wit"],
    inline: "
        package guests:wasi-messaging;

        world plugin {
            include wasi:messaging/messaging-core@0.2.0-draft;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
        }
    ",
    world: "guests:wasi-messaging/plugin",
    generate_all,
});

use exports::wasi::messaging::incoming_handler::Guest;
use wasi::config::store;
use wasi::logging::logging::{Level, log};
use wasi::messaging::producer;
use wasi::messaging::types::{Client, Error, Message};

struct Plugin;

fn send(topic: &str, message: Message) -> Result<(), Error> {
    let client = Client::connect("any name")?;
    producer::send(&client, topic, message)?;
    client.disconnect()
}

fn tell(message: &Message) -> Result<(), Error> {
    let seen = format!(
        "{:?} {:?} {:?} {}",
        message.topic(),
        message.content_type(),
        message.metadata(),
        message.data().len()
    );
    log(Level::Info, "tell", &seen);
    send("echo", Message::new(seen.as_bytes()))
}

fn edit() -> Result<(), Error> {
    let message = Message::new(b"first");
    message.set_data(b"second");
    message.set_content_type("text/plain");
    let pairs = [("a", "1"), ("gone", "2"), ("Content-Type", "twice")];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    message.set_metadata(&pairs);
    message.add_metadata("a", "3");
    message.add_metadata("b", "4");
    message.remove_metadata("gone");
    send("echo", message)
}

fn hoard(bytes: usize) -> Result<(), Error> {
    let data = vec![0; bytes];
    loop {
        std::mem::forget(Message::new(&data));
    }
}

impl Guest for Plugin {
    fn handle(message: Message) -> Result<(), Error> {
        let value = String::from_utf8_lossy(&message.data()).into_owned();
        let (deed, of) = value.split_once(':').unwrap_or((&value, ""));
        if ["timeout", "connection", "denied", "other", "trap"].contains(&deed) {
            send("echo", Message::new(b"never seen"))?;
        }
        match deed {
            "relay" => send(of, message),
            "edit" => edit(),
            "config" => {
                let found = store::get(of).map_err(|error| Error::Other(error.to_string()))?;
                send("echo", Message::new(found.unwrap_or_default().as_bytes()))
            }
            "timeout" => Err(Error::Timeout),
            "connection" => Err(Error::Connection("it is cut".to_owned())),
            "denied" => Err(Error::PermissionDenied("not for you".to_owned())),
            "other" => Err(Error::Other("it is something else".to_owned())),
            "trap" => panic!("the message said so"),
            "leak" => {
                std::mem::forget(message);
                Ok(())
            }
            "hoard" => hoard(of.parse().unwrap_or_default()),
            _ => tell(&message),
        }
    }
}

export!(Plugin);
