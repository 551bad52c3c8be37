//! The data channel of Session Manager: what `session-manager-plugin` and a terminal in a container say to each other, in
//! messages of a websocket. Pure: bytes in, bytes out, with time and ids as arguments.
//!
//! Source of the form: session-manager-plugin (`message/clientmessage.go`, `messageparser.go`, `datachannel/streaming.go`), and
//! what it was seen to send. Each side numbers its stream from 0, acknowledges each message of the other's, and sends again what was
//! not acknowledged: the plugin leaves unanswered what comes before it is ready.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::VecDeque, time::Duration};

/// The header's length without the payload's own.
const HEADER: usize = 116;
const KIND: usize = 32;
/// The version of the form, and of the documents within.
const SCHEMA: u32 = 1;
/// What the plugin marks an acknowledgement with: the first and the last message of a stream at once.
const ONLY: u64 = 3;
/// Longest payload that is taken. The plugin sends a KiB at a time; in base64 it still has to fit a frame of the link.
pub const MAX_PAYLOAD: usize = 32 << 10;
/// Messages on their way that nobody has acknowledged: more are not sent before.
const WINDOW: usize = 32;
/// How long an acknowledgement is waited for at first, and at last.
const PATIENCE: Duration = Duration::from_millis(250);
const MOST_PATIENCE: Duration = Duration::from_secs(4);

/// Which way a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the terminal is: sends `output_stream_data`.
    Terminal,
    /// Where the person is: sends `input_stream_data`.
    Person,
}

impl Side {
    fn sends(self) -> &'static str {
        match self {
            Self::Terminal => "output_stream_data",
            Self::Person => "input_stream_data",
        }
    }

    fn expects(self) -> &'static str {
        match self {
            Self::Terminal => Self::Person.sends(),
            Self::Person => Self::Terminal.sends(),
        }
    }
}

/// What a message of a stream is about. Source: `message.PayloadType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// What is typed or shown.
    Output,
    /// How large the person's terminal is: JSON with `cols` and `rows`.
    Size,
    /// What the terminal asks for at the beginning.
    HandshakeRequest,
    /// The answer.
    HandshakeResponse,
    /// What follows it; from then on the terminal shows.
    HandshakeComplete,
    /// A number that says what is wanted: 2 is the end.
    Flag,
    /// Something that nobody here knows.
    Other(u32),
}

impl Payload {
    fn number(self) -> u32 {
        match self {
            Self::Output => 1,
            Self::Size => 3,
            Self::HandshakeRequest => 5,
            Self::HandshakeResponse => 6,
            Self::HandshakeComplete => 7,
            Self::Flag => 10,
            Self::Other(number) => number,
        }
    }

    fn of(number: u32) -> Self {
        match number {
            1 => Self::Output,
            3 => Self::Size,
            5 => Self::HandshakeRequest,
            6 => Self::HandshakeResponse,
            7 => Self::HandshakeComplete,
            10 => Self::Flag,
            other => Self::Other(other),
        }
    }
}

/// [`Payload::Flag`] with this number ends the session.
pub const TERMINATE: u32 = 2;

/// How large a terminal is, as [`Payload::Size`] says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters across.
    pub cols: u32,
    /// Lines.
    pub rows: u32,
}

/// The first frame of the websocket, as text: who may have the session.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Opening {
    /// `1.0`.
    pub message_schema_version: String,
    /// Anything.
    #[serde(default)]
    pub request_id: String,
    /// What ExecuteCommand answered.
    pub token_value: String,
    /// Anything.
    #[serde(default)]
    pub client_id: String,
    /// Anything.
    #[serde(default)]
    pub client_version: String,
}

/// How a session ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Closed {
    /// `channel_closed`.
    pub message_type: String,
    /// The message.
    pub message_id: String,
    /// Nobody.
    pub destination_id: String,
    /// The session.
    pub session_id: String,
    /// 1.
    pub schema_version: u32,
    /// When, in RFC 3339.
    pub created_date: String,
    /// What the person is told last.
    pub output: String,
    /// The command's exit code. Not among the original's members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Acknowledged {
    acknowledged_message_type: String,
    acknowledged_message_id: String,
    acknowledged_message_sequence_number: i64,
    is_sequential_message: bool,
}

/// What is no message of a data channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no message of a data channel: {0}")]
pub struct Malformed(&'static str);

/// A new message's own: an id, and when it is made.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// A UUID.
    pub id: [u8; 16],
    /// Milliseconds since 1970.
    pub at: i64,
}

impl Stamp {
    /// From a UUID as text; one that is none counts as zeros.
    pub fn new(uuid: &str, at: i64) -> Self {
        let mut id = [0; 16];
        let _ = hex::decode_to_slice(uuid.replace('-', ""), &mut id);
        Self { id, at }
    }
}

/// Of a UUID, as text.
fn text(id: [u8; 16]) -> String {
    let all = hex::encode(id);
    [&all[..8], &all[8..12], &all[12..16], &all[16..20], &all[20..]].join("-")
}

struct Message<'a> {
    kind: &'a str,
    id: [u8; 16],
    sequence: i64,
    payload_type: u32,
    payload: &'a [u8],
}

fn encode(kind: &str, stamp: Stamp, sequence: i64, flags: u64, payload_type: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + 4 + payload.len());
    let mut padded = [b' '; KIND];
    padded[..kind.len()].copy_from_slice(kind.as_bytes());
    out.extend((HEADER as u32).to_be_bytes());
    out.extend(padded);
    out.extend(SCHEMA.to_be_bytes());
    out.extend(stamp.at.to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.extend(flags.to_be_bytes());
    // The low half stands first.
    out.extend(&stamp.id[8..]);
    out.extend(&stamp.id[..8]);
    out.extend(Sha256::digest(payload));
    out.extend(payload_type.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out
}

fn decode(bytes: &[u8]) -> Result<Message<'_>, Malformed> {
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or(Malformed("it is too short"))?;
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if number(0) as usize != HEADER {
        return Err(Malformed("its header has another length"));
    }
    let kind = std::str::from_utf8(&header[4..4 + KIND]).map_err(|_| Malformed("its type is no text"))?;
    let sequence = i64::from_be_bytes(header[48..56].try_into().expect("eight bytes"));
    let mut id = [0; 16];
    id[8..].copy_from_slice(&header[64..72]);
    id[..8].copy_from_slice(&header[72..80]);
    let (length, payload) = rest.split_at_checked(4).ok_or(Malformed("it is too short"))?;
    let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
    if length != payload.len() || length > MAX_PAYLOAD {
        return Err(Malformed("its payload has another length, or one of more than 32 KiB"));
    }
    if Sha256::digest(payload).as_slice() != &header[80..112] {
        return Err(Malformed("its payload is not what its digest says"));
    }
    let kind = kind.trim_end_matches([' ', '\0']);
    Ok(Message { kind, id, sequence, payload_type: number(112), payload })
}

/// Something sent that nobody has acknowledged.
struct Sent {
    sequence: i64,
    bytes: Vec<u8>,
    again_at: Duration,
    patience: Duration,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// What to send back.
    pub reply: Option<Vec<u8>>,
    /// What the other side's stream says next.
    pub said: Option<(Payload, Vec<u8>)>,
    /// The other side has ended the session.
    pub closed: Option<Closed>,
}

/// One side's state.
pub struct Channel {
    side: Side,
    next_out: i64,
    next_in: i64,
    sent: VecDeque<Sent>,
}

impl Channel {
    /// Of a session that begins.
    pub fn new(side: Side) -> Self {
        Self { side, next_out: 0, next_in: 0, sent: VecDeque::new() }
    }

    /// The next message of our stream, as it goes out. `now` is a clock that only runs forwards.
    pub fn send(&mut self, payload: Payload, bytes: &[u8], stamp: Stamp, now: Duration) -> Vec<u8> {
        let message = encode(self.side.sends(), stamp, self.next_out, 0, payload.number(), bytes);
        let again =
            Sent { sequence: self.next_out, bytes: message.clone(), again_at: now + PATIENCE, patience: PATIENCE };
        self.sent.push_back(again);
        self.next_out += 1;
        message
    }

    /// Whether as much is on its way as may be.
    pub fn is_full(&self) -> bool {
        self.sent.len() >= WINDOW
    }

    /// Whether the other side has acknowledged all.
    pub fn is_quiet(&self) -> bool {
        self.sent.is_empty()
    }

    /// When [`Self::again`] has something.
    pub fn due(&self) -> Option<Duration> {
        self.sent.front().map(|sent| sent.again_at)
    }

    /// The oldest that was not acknowledged in time, to be sent once more: the other side takes them in order.
    pub fn again(&mut self, now: Duration) -> Option<Vec<u8>> {
        let sent = self.sent.front_mut().filter(|sent| sent.again_at <= now)?;
        sent.patience = (sent.patience * 2).min(MOST_PATIENCE);
        sent.again_at = now + sent.patience;
        Some(sent.bytes.clone())
    }

    /// Takes what came. What comes again is acknowledged again; what comes too early is left to come again.
    ///
    /// # Errors
    /// It is no message, or acknowledges in a form of its own.
    pub fn take(&mut self, bytes: &[u8], stamp: Stamp) -> Result<Taken, Malformed> {
        let message = decode(bytes)?;
        let mut taken = Taken::default();
        match message.kind {
            "acknowledge" => {
                let what: Acknowledged =
                    serde_json::from_slice(message.payload).map_err(|_| Malformed("it acknowledges nothing"))?;
                if what.acknowledged_message_type == self.side.sends() {
                    self.sent.retain(|sent| sent.sequence != what.acknowledged_message_sequence_number);
                }
            }
            "channel_closed" => {
                let closed = serde_json::from_slice(message.payload);
                taken.closed = Some(closed.map_err(|_| Malformed("it closes without a word"))?);
            }
            kind if kind == self.side.expects() && message.sequence <= self.next_in => {
                taken.reply = Some(acknowledge(&message, stamp));
                if message.sequence == self.next_in {
                    self.next_in += 1;
                    taken.said = Some((Payload::of(message.payload_type), message.payload.to_vec()));
                }
            }
            // Whether to publish is the other side's own matter; what else there is nobody here asked for.
            _ => {}
        }
        Ok(taken)
    }
}

fn acknowledge(of: &Message<'_>, stamp: Stamp) -> Vec<u8> {
    let what = Acknowledged {
        acknowledged_message_type: of.kind.to_owned(),
        acknowledged_message_id: text(of.id),
        acknowledged_message_sequence_number: of.sequence,
        is_sequential_message: true,
    };
    let payload = serde_json::to_vec(&what).expect("a structure of texts is JSON");
    encode("acknowledge", stamp, 0, ONLY, 0, &payload)
}

/// The last message of a session.
pub fn close(session: &str, output: &str, exit_code: Option<u32>, stamp: Stamp, date: &str) -> Vec<u8> {
    let what = Closed {
        message_type: "channel_closed".to_owned(),
        message_id: text(stamp.id),
        destination_id: String::new(),
        session_id: session.to_owned(),
        schema_version: SCHEMA,
        created_date: date.to_owned(),
        output: output.to_owned(),
        exit_code,
    };
    let payload = serde_json::to_vec(&what).expect("a structure of texts is JSON");
    encode("channel_closed", stamp, 0, ONLY, 0, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMP: Stamp = Stamp { id: *b"0123456789abcdef", at: 1_790_000_000_000 };
    const NOW: Duration = Duration::from_secs(1);

    /// By hand, from the plugin's `messageparser.go`: every offset as it writes it.
    #[test]
    fn a_message_has_the_plugins_form() {
        let bytes = Channel::new(Side::Person).send(Payload::Output, b"ls\r", STAMP, NOW);
        assert_eq!(bytes[..4], [0, 0, 0, 116]);
        assert_eq!(&bytes[4..36], b"input_stream_data               ");
        assert_eq!(bytes[36..40], [0, 0, 0, 1]);
        assert_eq!(bytes[40..48], 1_790_000_000_000_u64.to_be_bytes());
        assert_eq!(bytes[48..64], [0; 16]);
        assert_eq!(&bytes[64..80], b"89abcdef01234567");
        assert_eq!(bytes[80..112], Sha256::digest(b"ls\r")[..]);
        assert_eq!(bytes[112..120], [0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(&bytes[120..], b"ls\r");
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_in_order_and_taken_once() {
        let (mut terminal, mut person) = (Channel::new(Side::Terminal), Channel::new(Side::Person));
        let first = terminal.send(Payload::Output, b"a", STAMP, NOW);
        let second = terminal.send(Payload::Output, b"b", STAMP, NOW);
        // Too early: the first was lost.
        assert_eq!(person.take(&second, STAMP).unwrap(), Taken::default());
        assert_eq!((terminal.again(NOW), terminal.due()), (None, Some(NOW + PATIENCE)));
        assert_eq!(terminal.again(NOW + PATIENCE).as_ref(), Some(&first));
        for (message, said) in [(&first, Some(b"a")), (&first, None), (&second, Some(b"b"))] {
            let taken = person.take(message, STAMP).unwrap();
            assert_eq!(taken.said, said.map(|text| (Payload::Output, text.to_vec())));
            assert_eq!(terminal.take(&taken.reply.unwrap(), STAMP).unwrap(), Taken::default());
        }
        assert!(terminal.is_quiet() && person.is_quiet());
        // An echo of one's own stream says nothing.
        assert_eq!(terminal.take(&first, STAMP).unwrap(), Taken::default());
        let end = close("s", "bye", Some(3), STAMP, "2026-01-01T00:00:00Z");
        let closed = person.take(&end, STAMP).unwrap().closed.unwrap();
        assert_eq!((closed.output.as_str(), closed.exit_code, closed.session_id.as_str()), ("bye", Some(3), "s"));
        assert_eq!(closed.message_id, "30313233-3435-3637-3839-616263646566");
    }

    #[test]
    fn no_more_than_a_window_is_on_its_way() {
        let mut terminal = Channel::new(Side::Terminal);
        while !terminal.is_full() {
            terminal.send(Payload::Output, b"x", STAMP, NOW);
        }
        assert_eq!(terminal.sent.len(), WINDOW);
    }

    proptest! {
        #[test]
        fn no_bytes_can_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..200) {
            let mut channel = Channel::new(Side::Terminal);
            let _ = channel.take(&bytes, STAMP);
            // One byte wrong: refused, or the message of another type.
            let mut message = Channel::new(Side::Person).send(Payload::Output, &bytes, STAMP, NOW);
            let at = at % message.len();
            message[at] ^= 1;
            if let Ok(taken) = channel.take(&message, STAMP) && let Some((_, said)) = taken.said {
                prop_assert_eq!(said, bytes);
            }
        }
    }
}
