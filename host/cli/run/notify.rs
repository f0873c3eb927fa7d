//! Tells the service manager how the host is, where it asked to be told (`Type=notify` of systemd). It must not know
//! what being ready means.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::config;

/// The variable that names the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// The host has started.
pub(super) const READY: &str = "READY=1";

/// It finishes what is in flight.
pub(super) const STOPPING: &str = "STOPPING=1";

/// Says it, where somebody listens. Who does not hear it loses nothing but the word.
pub(super) fn tell(state: &str) {
    let socket = config::process_environment().find(|(name, _)| name == SOCKET);
    let Some((_, socket)) = socket else {
        return;
    };
    let told = address(&socket)
        .and_then(|to| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to));
    if let Err(error) = told {
        tracing::warn!(%error, socket, state, "the service manager could not be told");
    }
}

/// A path, or with `@` in front a name that is no file.
fn address(socket: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}
