//! The names of Service Connect: a task that has them enabled is answered, and nobody else. Pure.

use super::zone::{Answer, Data, Kind, Question, Record, Zones};
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

/// Seconds for which an answer may be kept, and for which that there is none. The address behind a name stays while the tasks
/// behind it change, so that this is about names that come and go.
const TTL: u32 = 5;

/// The names that each task knows, by its address.
pub type Aliases = BTreeMap<Ipv4Addr, Arc<BTreeMap<String, Ipv4Addr>>>;

/// What whoever asks is answered, if it is one of its names; these come before all zones.
pub(super) fn answer(zones: &Zones, asker: Ipv4Addr, question: &Question) -> Option<Answer> {
    let name = &question.name;
    let address = *zones.aliases.get(&asker)?.get(name)?;
    let record = |data| Record { name: name.clone(), ttl: TTL, data };
    Some(match question.kind {
        Kind::A | Kind::Any => Answer::Records { records: vec![record(Data::A(address))], additional: Vec::new() },
        Kind::Srv | Kind::Ptr | Kind::Soa | Kind::Other => Answer::NoData(record(Data::Soa(TTL))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_a_name_is_answered_with_it() {
        let (client, other) = (Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 1, 2));
        let at = Ipv4Addr::new(169, 254, 64, 7);
        let names = |names: &[&str]| Arc::new(names.iter().map(|name| ((*name).to_owned(), at)).collect());
        let zones = Zones {
            aliases: [(client, names(&["web", "db.shop"])), (other, names(&["api"]))].into(),
            ..Zones::default()
        };
        let ask = |asker, name: &str, kind| answer(&zones, asker, &Question { name: name.to_owned(), kind });
        for (asker, name, known) in [
            (client, "web", true),
            (client, "db.shop", true),
            (client, "api", false),
            (other, "api", true),
            (other, "web", false),
            (Ipv4Addr::new(10, 0, 1, 3), "web", false),
        ] {
            let told = ask(asker, name, Kind::A);
            let record = Record { name: name.to_owned(), ttl: TTL, data: Data::A(at) };
            let want = Answer::Records { records: vec![record], additional: Vec::new() };
            assert_eq!(told, known.then_some(want), "{asker} asks for {name}");
        }
        // A client that asks for an IPv6 address first must not be told that there is no such name.
        let Some(Answer::NoData(soa)) = ask(client, "web", Kind::Other) else { panic!("the name has nothing else") };
        assert_eq!(soa.data, Data::Soa(TTL));
    }
}
