//! DNS messages, the only place that sees hickory: bytes in, questions out, and back. Its API changes with each of its
//! versions, and nothing else of it is used; its server spawns tasks that nobody else could name or end.

use super::zone::{Answer, Data, Kind, Question, Record};
use hickory_proto::{
    op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode},
    rr::{self, DNSClass, Name, RData, RecordType, rdata},
};

/// What an answer over UDP may have where the client says nothing. Source: RFC 1035.
const UDP_BYTES: u16 = 512;
/// The most over UDP, whatever the client says: what passes every network in one piece. Source: DNS flag day 2020.
const EDNS_BYTES: u16 = 1232;
/// Times of an SOA record that nobody copies zones by.
const TIMES: (i32, i32, i32) = (7200, 900, 1_209_600);

/// A query that can be answered.
pub(super) struct Query {
    message: Message,
    /// What it asks.
    pub(super) question: Question,
}

/// What came.
pub(super) enum Came {
    /// A query.
    Query(Box<Query>),
    /// Something that is answered with an error.
    Bad(Vec<u8>),
    /// Something that is not answered at all.
    Nothing,
}

/// Reads what came.
pub(super) fn read(bytes: &[u8]) -> Came {
    let Ok(message) = Message::from_vec(bytes) else { return malformed(bytes) };
    if message.metadata.message_type == MessageType::Response {
        // Answering answers would be the beginning of a quarrel.
        return Came::Nothing;
    }
    let refuse = |code| Came::Bad(encode(&reply(&message, code)));
    if message.metadata.op_code != OpCode::Query {
        return refuse(ResponseCode::NotImp);
    }
    if message.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(ResponseCode::BADVERS);
    }
    let [query] = &message.queries[..] else { return refuse(ResponseCode::FormErr) };
    if query.query_class() != DNSClass::IN || !message.metadata.recursion_desired {
        return refuse(ResponseCode::Refused);
    }
    let question = Question { name: plain(query.name()), kind: kind(query.query_type()) };
    Came::Query(Box::new(Query { message, question }))
}

/// Too short to have a header is not a query; else it can at least be told so.
fn malformed(bytes: &[u8]) -> Came {
    match bytes {
        [a, b, flags, ..] if bytes.len() >= 12 && flags & 0x80 == 0 => {
            let id = u16::from_be_bytes([*a, *b]);
            Came::Bad(encode(&Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)))
        }
        _ => Came::Nothing,
    }
}

fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map_or(text.clone(), str::to_owned)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "DNS has a hundred types and grows more")]
fn kind(record_type: RecordType) -> Kind {
    match record_type {
        RecordType::A => Kind::A,
        RecordType::SRV => Kind::Srv,
        RecordType::PTR => Kind::Ptr,
        RecordType::SOA => Kind::Soa,
        RecordType::ANY => Kind::Any,
        _ => Kind::Other,
    }
}

impl Query {
    /// Bytes that an answer over UDP may have.
    pub(super) fn udp_bytes(&self) -> usize {
        let asked = self.message.edns.as_ref().map_or(UDP_BYTES, |edns| edns.max_payload().min(EDNS_BYTES));
        usize::from(asked.max(UDP_BYTES))
    }

    /// What our zones say; `None` where somebody else has to be asked.
    pub(super) fn answered(&self, answer: &Answer) -> Option<Vec<u8>> {
        let mut reply = reply(&self.message, ResponseCode::NoError);
        match answer {
            Answer::Records { records, additional } => {
                reply.add_answers(records.iter().filter_map(|record| self.record(record)));
                reply.add_additionals(additional.iter().filter_map(|record| self.record(record)));
            }
            Answer::NoData(soa) => {
                reply.add_authorities(self.record(soa));
            }
            Answer::NoSuchName(soa) => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                reply.add_authorities(self.record(soa));
            }
            Answer::NotOurs => return None,
        }
        Some(encode(&reply))
    }

    /// That nobody could be asked.
    pub(super) fn failed(&self) -> Vec<u8> {
        encode(&reply(&self.message, ResponseCode::ServFail))
    }

    /// An answer's head, for a client that has to come again over TCP.
    pub(super) fn truncated(&self, answer: &[u8]) -> Vec<u8> {
        match Message::from_vec(answer) {
            Ok(message) => encode(&message.truncate()),
            Err(_) => self.failed(),
        }
    }

    /// The same question, with another number, for somebody else.
    pub(super) fn asked_as(&self, id: u16) -> Vec<u8> {
        let mut message = self.message.clone();
        message.metadata.id = id;
        encode(&message)
    }

    /// Somebody else's answer with the client's number, if it is one to this question; and whether it is only its head.
    pub(super) fn accepts(&self, id: u16, answer: &[u8]) -> Option<(Vec<u8>, bool)> {
        let mut message = Message::from_vec(answer).ok()?;
        let same = message.metadata.id == id
            && message.metadata.message_type == MessageType::Response
            && message.queries == self.message.queries;
        if !same {
            return None;
        }
        message.metadata.id = self.message.metadata.id;
        message.metadata.recursion_available = true;
        let short = message.metadata.truncation;
        Some((encode(&message), short))
    }

    fn record(&self, record: &Record) -> Option<rr::Record> {
        let asked = self.message.queries.first()?.name();
        // As the client wrote it: some clients compare that.
        let owner = if record.name == self.question.name { asked.clone() } else { name(&record.name)? };
        let data = match &record.data {
            Data::A(address) => RData::A(rdata::A(*address)),
            Data::Srv(srv) => RData::SRV(rdata::SRV::new(srv.priority, srv.weight, srv.port, name(&srv.target)?)),
            Data::Ptr(target) => RData::PTR(rdata::PTR(name(target)?)),
            Data::Soa(ttl) => {
                let (refresh, retry, expire) = TIMES;
                let (primary, person) = (name(&format!("ns.{}", record.name))?, name("hostmaster.longshore")?);
                RData::SOA(rdata::SOA::new(primary, person, 1, refresh, retry, expire, *ttl))
            }
        };
        Some(rr::Record::from_rdata(owner, record.ttl, data))
    }
}

/// Names come from our own state, whose laws are narrower than DNS's; one that is too long all the same has no record.
fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata = Metadata::response_from_request(&query.metadata);
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_BYTES);
        reply.set_edns(edns);
    }
    reply
}

fn encode(message: &Message) -> Vec<u8> {
    // What does not fit 64 KiB, which no name of ours fills, is told to be too much.
    message.to_vec().or_else(|_| message.truncate().to_vec()).unwrap_or_default()
}
