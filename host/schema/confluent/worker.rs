//! The thread that asks the registry, as the board says, and makes what it answers ready for use. Lanes never wait for
//! it. It must not know who wants a schema.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::board::Ask;
use super::client::{Failure, Registered, RegistryClient};
use super::codec::Codec;
use super::encoder::Ready;
use super::{Millis, Shared};

/// Questions at once. A start with many topics asks for as many schemas; a registry serves this many without notice.
const ASKED_AT_ONCE: usize = 8;

/// Longest sleep when nothing is due; it wakes for whatever is new.
const IDLE: Duration = Duration::from_secs(60);

/// Compilers of schemas descend into them, as deep as they go: several times what the deepest that are taken need.
const STACK_BYTES: usize = 16 << 20;

/// Starts it.
pub(super) fn start(
    client: RegistryClient,
    shared: Arc<Shared>,
    stop: Arc<Notify>,
) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("schema-registry".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let work = work(Arc::new(client), &shared);
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    () = stop.notified() => {}
                }
            });
        })
}

enum Answer {
    Schema(Registered),
    Target(u32, Registered),
}

async fn work(client: Arc<RegistryClient>, shared: &Shared) {
    let mut asked = JoinSet::new();
    loop {
        let now = shared.now();
        let due = shared.board().take_due(now, ASKED_AT_ONCE - asked.len());
        for ask in due {
            let client = Arc::clone(&client);
            asked.spawn(async move {
                let answer = match &ask {
                    Ask::Schema(id) => client.schema(*id).await.map(Answer::Schema),
                    Ask::Target(_, target) => {
                        let found = client.target(&target.0.schema).await;
                        found.map(|(id, registered)| Answer::Target(id, registered))
                    }
                };
                (ask, answer)
            });
        }
        let next = shared.board().next_due();
        let sleep = match next {
            // What is due already waits for an answer to make room.
            Some(due) if due > now => Duration::from_millis(due.0 - now.0),
            _ => IDLE,
        };
        tokio::select! {
            Some(answered) = asked.join_next() => match answered {
                Ok((ask, answer)) => take_up(shared, &ask, answer),
                // It is asked no more until the host starts again; the panic has been told.
                Err(error) => tracing::error!(%error, "a question to the schema registry ended badly"),
            },
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(sleep.min(IDLE)) => {}
        }
    }
}

fn take_up(shared: &Shared, ask: &Ask, answer: Result<Answer, Failure>) {
    // In the order of their words.
    let counted = match &answer {
        Ok(_) => 0,
        Err(Failure::Missing(_)) => 1,
        Err(Failure::Unusable(_)) => 2,
        Err(Failure::Away(_)) => 3,
    };
    shared.answers[counted].fetch_add(1, Ordering::Relaxed);
    let now = shared.now();
    match answer {
        Ok(Answer::Schema(registered)) => {
            if let Ask::Schema(id) = ask {
                found(shared, *id, &registered, now);
            }
        }
        Ok(Answer::Target(id, registered)) => target_found(shared, ask, id, &registered, now),
        Err(Failure::Away(why)) => {
            let told = why.clone();
            if shared.board().away(ask, why, now) {
                tracing::warn!(reason = %told, "the schema registry cannot be asked; events whose schemas are \
                    not known yet wait, and it is asked again until it answers");
            }
        }
        Err(Failure::Missing(why) | Failure::Unusable(why)) if matches!(ask, Ask::Target(..)) => {
            target_missing(shared, ask, why, now);
        }
        Err(Failure::Missing(why)) => {
            if let Ask::Schema(id) = ask
                && shared.board().missing(*id, why.clone(), now)
            {
                tracing::warn!(id, reason = %why, "the schema registry has no schema of this number; events \
                    that were written by it wait, and it is asked for again until it is there");
            }
        }
        Err(Failure::Unusable(why)) => {
            if let Ask::Schema(id) = ask {
                tracing::error!(id, reason = %why, "a schema cannot be used; its events go to the dead letters");
                shared.board().found(*id, Err(why.into()), now);
            }
        }
    }
}

fn found(shared: &Shared, id: u32, registered: &Registered, now: Millis) {
    let codec = Codec::new(registered).map(Arc::new);
    match &codec {
        Ok(codec) => tracing::info!(id, format = %codec.format(), "a schema is ready"),
        Err(why) => {
            tracing::error!(id, reason = %why, "a schema cannot be used; its events go to the dead letters");
        }
    }
    let codec = codec.map_err(Arc::from);
    shared.board().found(id, codec, now);
}

fn target_found(shared: &Shared, ask: &Ask, id: u32, registered: &Registered, now: Millis) {
    let Ask::Target(place, target) = ask else {
        return;
    };
    let before = shared.board().ready(*place);
    if let Some(before) = before.filter(|before| before.id == id) {
        shared.board().target_found(*place, before, now);
        return;
    }
    let ready = Codec::new(registered).map_err(|why| format!("schema {id} cannot be used: {why}"));
    let ready = ready.and_then(|codec| Ready::new(target, id, Arc::new(codec)));
    match ready {
        Ok(ready) => {
            tracing::info!(id, target = %target, "outputs are written by this schema");
            shared.board().target_found(*place, Arc::new(ready), now);
        }
        Err(why) => target_missing(shared, ask, why, now),
    }
}

fn target_missing(shared: &Shared, ask: &Ask, why: String, now: Millis) {
    let Ask::Target(place, target) = ask else {
        return;
    };
    if shared.board().target_missing(*place, why.clone(), now) {
        tracing::warn!(target = %target, reason = %why, "there is no schema that outputs could be written by; events \
            wait, and it is asked for again until it is there");
    }
}
