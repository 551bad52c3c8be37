//! A registry that misbehaves on command: between a client and a real registry it passes everything on, except where it was
//! told to stall, cut, lie or refuse. One request per connection, blocking std only; it ends when it is dropped.

use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// The longest request head it reads; clients' are a few hundred bytes.
const HEAD: usize = 64 << 10;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing is answered until it is healed.
    Silence,
    /// The answer's head and so many bytes of its body, then nothing until it is healed.
    StallAfter(usize),
    /// The answer's head and so many bytes of its body, then pieces of so many bytes with this pause.
    TrickleAfter(usize, usize, Duration),
    /// The answer's head and so many bytes of its body, then the connection is reset.
    CutAfter(usize),
    /// One bit in the middle of the body is another.
    Corrupt,
    /// The body never ends: zeros follow it.
    Endless,
    /// This status with this body instead.
    Status(u16, &'static str),
    /// The real registry is to be asked instead: its address.
    Redirect(String),
}

struct Rule {
    path_part: String,
    fault: Fault,
    /// How many more requests it concerns.
    left: usize,
}

#[derive(Default)]
struct Plan {
    rules: Vec<Rule>,
    requests: Vec<String>,
    /// Counted up by healing: whoever stalls looks at it.
    healed: u64,
    over: bool,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    changed: Condvar,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("nothing panics while it holds the plan")
    }
}

/// See the module.
pub struct FaultyRegistry {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FaultyRegistry {
    /// Stands before the registry at `upstream`, well-behaved.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (shared, upstream) = (Arc::<Shared>::default(), upstream.to_owned());
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if of_thread.plan().over {
                    return;
                }
                let (shared, upstream) = (of_thread.clone(), upstream.clone());
                // Its client may hang up at any time, which is no news.
                std::thread::spawn(move || drop(answer(&shared, client, &upstream)));
            }
        });
        Ok(Self { shared, address })
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The next `times` requests with `path_part` in their target meet this fault.
    pub fn on(&self, path_part: &str, fault: Fault, times: usize) {
        self.shared.plan().rules.push(Rule { path_part: path_part.to_owned(), fault, left: times });
    }

    /// Ends all faults; what stalls goes on.
    pub fn heal(&self) {
        let mut plan = self.shared.plan();
        plan.rules.clear();
        plan.healed += 1;
        drop(plan);
        self.shared.changed.notify_all();
    }

    /// Every request so far: its first line, and `Range` and `Authorization` if it had them.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.plan().requests.clone()
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.shared.plan().over = true;
        self.heal();
        // The listener's thread looks when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

fn answer(shared: &Shared, mut client: TcpStream, upstream: &str) -> Result<()> {
    let head = read_head(&mut client)?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let told = ["range:", "authorization:"];
    let named = head.lines().filter(|l| told.iter().any(|name| l.to_ascii_lowercase().starts_with(name)));
    let (fault, healed) = {
        let mut plan = shared.plan();
        plan.requests.push([line.as_str()].into_iter().chain(named).collect::<Vec<_>>().join("; "));
        let rule = plan.rules.iter_mut().find(|rule| rule.left > 0 && line.contains(&rule.path_part));
        (
            rule.map(|rule| {
                rule.left -= 1;
                rule.fault.clone()
            }),
            plan.healed,
        )
    };
    let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
    match &fault {
        Some(Fault::Silence) => {
            wait_for(shared, healed, None);
            return Ok(());
        }
        Some(Fault::Status(code, body)) => {
            let length = body.len();
            let kind = "Content-Type: application/json\r\nConnection: close";
            write!(client, "HTTP/1.1 {code} Told\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}")?;
            return Ok(());
        }
        Some(Fault::Redirect(to)) => {
            let location = format!("Location: http://{to}{target}\r\nConnection: close");
            write!(client, "HTTP/1.1 307 Elsewhere\r\n{location}\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(());
        }
        Some(_) | None => {}
    }
    let (answer_head, body) = ask(upstream, &head)?;
    pass_on(shared, &mut client, &answer_head, body, fault.as_ref(), healed)
}

fn pass_on(
    shared: &Shared,
    client: &mut TcpStream,
    head: &str,
    mut body: Vec<u8>,
    fault: Option<&Fault>,
    healed: u64,
) -> Result<()> {
    if let Some(Fault::Endless) = fault {
        // Without a length it ends with the connection, which it does not.
        let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
        let head: String = lines.map(|line| format!("{line}\r\n")).collect();
        client.write_all(format!("{}\r\n", head.trim_end_matches("\r\n").to_owned() + "\r\n").as_bytes())?;
        client.write_all(&body)?;
        loop {
            client.write_all(&[0; 4096])?;
        }
    }
    client.write_all(head.as_bytes())?;
    match fault {
        Some(Fault::StallAfter(bytes)) => {
            let now = (*bytes).min(body.len());
            client.write_all(&body[..now])?;
            wait_for(shared, healed, None);
            client.write_all(&body[now..])?;
        }
        Some(Fault::TrickleAfter(bytes, piece, pause)) => {
            let now = (*bytes).min(body.len());
            client.write_all(&body[..now])?;
            for piece in body[now..].chunks(*piece) {
                wait_for(shared, healed, Some(*pause));
                client.write_all(piece)?;
            }
        }
        Some(Fault::CutAfter(bytes)) => {
            client.write_all(&body[..(*bytes).min(body.len())])?;
            // What is not read makes the kernel reset the connection, not end it; either is half an answer.
            client.shutdown(Shutdown::Both)?;
        }
        Some(Fault::Corrupt) => {
            let middle = body.len() / 2;
            if let Some(byte) = body.get_mut(middle) {
                *byte ^= 1;
            }
            client.write_all(&body)?;
        }
        Some(Fault::Silence | Fault::Endless | Fault::Status(..) | Fault::Redirect(_)) | None => {
            client.write_all(&body)?;
        }
    }
    Ok(())
}

/// Until it is healed, or the pause is over.
fn wait_for(shared: &Shared, healed: u64, pause: Option<Duration>) {
    let ill = |plan: &mut Plan| plan.healed == healed;
    match pause {
        None => drop(shared.changed.wait_while(shared.plan(), ill)),
        Some(pause) => drop(shared.changed.wait_timeout_while(shared.plan(), pause, ill)),
    }
}

fn read_head(stream: &mut TcpStream) -> Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Asks the real registry the same, and reads all of its answer.
fn ask(upstream: &str, head: &str) -> Result<(String, Vec<u8>)> {
    let mut registry = TcpStream::connect(upstream)?;
    let first = head.lines().next().unwrap_or_default().replace("HTTP/1.1", "HTTP/1.0");
    let kept = head.lines().skip(1).filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = [first.as_str()].into_iter().chain(kept).map(|line| format!("{line}\r\n")).collect();
    registry.write_all(head.as_bytes())?;
    let mut all = Vec::new();
    registry.read_to_end(&mut all)?;
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").context("half an answer")? + 4;
    let body = all.split_off(end);
    Ok((String::from_utf8_lossy(&all).into_owned(), body))
}
