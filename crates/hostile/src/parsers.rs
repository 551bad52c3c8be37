//! Small languages and messages that strangers, or machines that somebody has taken over, may send.

use sha2::{Digest, Sha256};
use std::time::Duration;
use wire::data_channel::{Channel, Payload, Side, Stamp};

const STAMP: Stamp = Stamp { id: [7; 16], at: 1_790_000_000_000 };

/// Law: whatever came before, our own next message is taken by whoever listens, and is acknowledged.
pub(crate) fn data_channel(bytes: &[u8]) {
    let (mut terminal, mut person) = (Channel::new(Side::Terminal), Channel::new(Side::Person));
    let _ = terminal.take(bytes, STAMP);
    let _ = terminal.take(&mended(bytes), STAMP);
    let sent = terminal.send(Payload::Output, b"shown", STAMP, Duration::ZERO);
    let taken = person.take(&sent, STAMP).expect("our own message");
    assert_eq!(taken.said, Some((Payload::Output, b"shown".to_vec())));
    terminal.take(&taken.reply.expect("an acknowledgement"), STAMP).expect("the other side's own");
    assert!(terminal.is_quiet());
}

/// The same message with the lengths and the digest that it should have, so that more than one in 2^256 is looked into.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut message = bytes.to_vec();
    let Some((header, payload)) = bytes.split_at_checked(120) else { return message };
    message[..4].copy_from_slice(&116_u32.to_be_bytes());
    message[80..112].copy_from_slice(&Sha256::digest(payload));
    message[header.len() - 4..header.len()].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    message
}

/// Law: what is understood and written again is understood as the same.
pub(crate) fn link_message(bytes: &[u8]) {
    if let Ok(message) = serde_json::from_slice::<link::AgentMessage>(bytes) {
        let text = serde_json::to_string(&message).expect("a message is JSON");
        let again: link::AgentMessage = serde_json::from_str(&text).expect("our own message");
        assert_eq!(serde_json::to_string(&again).expect("a message is JSON"), text);
    }
    let _ = serde_json::from_slice::<link::JoinRequest>(bytes);
    let _ = serde_json::from_slice::<link::ServerMessage>(bytes);
    let _ = serde_json::from_slice::<link::FromTerminal>(bytes);
    let _ = serde_json::from_slice::<link::ToTerminal>(bytes);
}

/// A cluster query, as in placement constraints and ListTasks' kin.
pub(crate) fn cluster_query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = scheduler::Expression::parse(text);
}

/// FilterLogEvents' pattern, and an event it is held against: what follows the first line.
pub(crate) fn filter_pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, event) = text.split_once('\n').unwrap_or((text, "ERROR {\"a\": [1, {\"b\": null}]}"));
    if let Ok(pattern) = telemetry::logs::Pattern::parse(pattern) {
        pattern.matches(event);
    }
}
