//! Decides what a service manager is told of the process, and when it is not worth waiting for: the datagrams of
//! sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Whoever started the process and may want to know how it fares.
#[derive(Debug)]
pub struct Supervisor {
    manager: Option<Manager>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// What a service manager understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It serves; also the end of [`Stage::Reloading`].
    Ready,
    /// It takes a new configuration. Without the time that `Type=notify-reload` asks for: the unit says `notify`.
    Reloading,
    /// It drains.
    Stopping,
}

impl Supervisor {
    /// Nobody.
    pub fn none() -> Self {
        Self { manager: None }
    }

    /// The manager behind `address`, the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    ///
    /// # Errors
    /// Any other address, or what the system says to a new socket.
    pub fn at(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(MAX_WAIT))?;
        Ok(Self { manager: Some(Manager { socket, address }) })
    }

    /// Tells the stage, or says in the log why it could not: no reason to serve worse.
    pub(super) fn tell(&self, stage: Stage) {
        let Some(Manager { socket, address }) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(stage.datagram(), address) {
            tracing::warn!(%error, ?stage, "service manager not told");
        }
    }
}

impl Stage {
    fn datagram(self) -> &'static [u8] {
        match self {
            Self::Ready => b"READY=1",
            Self::Reloading => b"RELOADING=1",
            Self::Stopping => b"STOPPING=1",
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A manager whose queue is full is busy or gone: this is far longer than a busy one takes, and little for a drain.
const MAX_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: &OsStr, manager: &UnixDatagram) -> Vec<String> {
        let supervisor = Supervisor::at(address).unwrap();
        let stages = [Stage::Ready, Stage::Reloading, Stage::Ready, Stage::Stopping];
        let read = |stage| {
            supervisor.tell(stage);
            let mut datagram = [0; 64];
            let length = manager.recv(&mut datagram).unwrap();
            String::from_utf8(datagram[..length].to_vec()).unwrap()
        };
        stages.map(read).to_vec()
    }

    #[test]
    fn every_stage_is_one_datagram_to_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        assert_eq!(told(path.as_os_str(), &manager), ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_at_sign_names_an_abstract_socket() {
        let name = format!("tollgate-{}", uuid::Uuid::new_v4());
        let manager = UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).unwrap()).unwrap();
        assert_eq!(told(OsStr::new(&format!("@{name}")), &manager).len(), 4);
    }

    #[test]
    fn an_address_that_is_no_socket_of_this_machine_is_refused() {
        for address in ["", "vsock:2:1234", "relative/path"] {
            assert!(Supervisor::at(OsStr::new(address)).is_err(), "{address:?}");
        }
    }

    #[test]
    fn a_manager_that_went_away_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        Supervisor::at(folder.path().join("nobody").as_os_str()).unwrap().tell(Stage::Ready);
        Supervisor::none().tell(Stage::Stopping);
    }
}
