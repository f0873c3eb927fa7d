//! A TCP proxy between a host and its broker that can fail like a network: answer late, swallow everything
//! with the connections open, cut what is there, or let nobody in. It must not know what it carries.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes taken at once. Any size will do; this is a usual socket buffer.
const BUFFER_BYTES: usize = 64 << 10;

/// What the network is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Weather {
    #[default]
    Clear,
    /// Everything takes this much longer, each way.
    Slow(Duration),
    /// Connections stay open, new ones are accepted, and nothing comes through: half-open TCP.
    BlackHole,
    /// Connections are cut, and new ones at once after they are made.
    Refusing,
}

/// A running proxy. Its connections end with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Listens on a loopback port, and connects everyone to `target`.
    pub(crate) fn start(port: u16, target: u16) -> Self {
        let (weather, _) = watch::channel(Weather::Clear);
        let (cuts, _) = watch::channel(0);
        let forecast = (weather.subscribe(), cuts.subscribe());
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, target));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime can be made");
            runtime.block_on(listen(port, target, forecast));
        });
        Self {
            port,
            weather,
            cuts,
        }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Changes the weather, for open connections and for new ones.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
        if weather == Weather::Refusing {
            self.cut();
        }
    }

    /// Resets every open connection.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

type Forecast = (watch::Receiver<Weather>, watch::Receiver<u64>);

async fn listen(port: u16, target: SocketAddr, forecast: Forecast) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.expect("the port is free");
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let (weather, mut cuts) = forecast.clone();
        cuts.mark_unchanged();
        tokio::spawn(async move {
            let refused = *weather.borrow() == Weather::Refusing;
            if refused || carry(&client, target, weather, cuts).await.is_err() {
                // The other side must hear of it, as it would of a broker that has gone.
                client.set_zero_linger().ok();
            }
        });
    }
}

/// Carries one connection until one side closes it, or it is cut.
async fn carry(
    client: &TcpStream,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    mut cuts: watch::Receiver<u64>,
) -> io::Result<()> {
    let mut clear = weather.clone();
    let through = |weather: &Weather| *weather != Weather::BlackHole;
    clear.wait_for(through).await.map_err(io::Error::other)?;
    let broker = TcpStream::connect(target).await?;
    broker.set_nodelay(true)?;
    client.set_nodelay(true)?;
    tokio::select! {
        done = pass(client, &broker, weather.clone()) => done,
        done = pass(&broker, client, weather) => done,
        _ = cuts.changed() => Err(io::Error::other("cut")),
    }
}

async fn pass(
    from: &TcpStream,
    to: &TcpStream,
    mut weather: watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        from.readable().await?;
        let now = *weather.borrow_and_update();
        match now {
            Weather::BlackHole => {
                // What has arrived waits in the socket, and so does its sender.
                weather.changed().await.map_err(io::Error::other)?;
                continue;
            }
            Weather::Slow(by) => tokio::time::sleep(by).await,
            Weather::Clear | Weather::Refusing => {}
        }
        let taken = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..taken];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    use super::super::{process, wait};
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    /// A proxy in front of a server that says everything back.
    fn echo_behind_a_proxy() -> Proxy {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let target = server.local_addr().expect("it has an address").port();
        thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                thread::spawn(move || {
                    let mut buffer = [0; 100];
                    while let Ok(read @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..read]).ok();
                    }
                });
            }
        });
        Proxy::start(process::free_port(), target)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        wait::eventually_some("a proxy that listens", TIMEOUT, || {
            let stream = TcpStream::connect(("127.0.0.1", proxy.port()))?;
            stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            io::Result::Ok(stream)
        })
    }

    fn answer(stream: &mut TcpStream) -> io::Result<u8> {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    #[test]
    fn a_black_hole_swallows_without_closing_and_gives_back_what_it_held() {
        let proxy = echo_behind_a_proxy();
        let mut open = connect(&proxy);
        open.write_all(b"a").expect("it is open");
        assert_eq!(answer(&mut open).expect("it comes back"), b'a');

        proxy.set(Weather::BlackHole);
        open.write_all(b"b").expect("it is still open");
        let silent = answer(&mut open).expect_err("nothing comes through");
        assert_eq!(silent.kind(), ErrorKind::WouldBlock);
        let mut new = connect(&proxy);
        new.write_all(b"c").expect("it is accepted");
        assert!(answer(&mut new).is_err(), "nothing comes through");

        proxy.set(Weather::Clear);
        wait::eventually("both answers", TIMEOUT, || {
            answer(&mut open).is_ok_and(|byte| byte == b'b')
        });
        wait::eventually("both answers", TIMEOUT, || {
            answer(&mut new).is_ok_and(|byte| byte == b'c')
        });
    }

    #[test]
    fn a_cut_resets_what_is_open_and_refusing_lets_nobody_in() {
        let proxy = echo_behind_a_proxy();
        let mut open = connect(&proxy);
        open.write_all(b"a").expect("it is open");
        assert_eq!(answer(&mut open).expect("it comes back"), b'a');
        proxy.cut();
        let cut = answer(&mut open).expect_err("it is cut");
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset);

        let mut again = connect(&proxy);
        again.write_all(b"b").expect("a new one is open");
        assert_eq!(answer(&mut again).expect("it comes back"), b'b');
        proxy.set(Weather::Refusing);
        wait::eventually("a refusal", TIMEOUT, || {
            let mut late = connect(&proxy);
            late.write_all(b"c").ok();
            answer(&mut late).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
        });
    }
}
