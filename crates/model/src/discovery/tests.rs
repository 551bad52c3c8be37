//! The laws as tables: what is asked of a small namespace, one after the other, and what comes of each.

use super::*;
use crate::{AccountId, Creation, Region, Scope, Tags, network::VpcId};
use std::collections::BTreeMap;

fn creation(token: Option<&str>, said: &str) -> Creation {
    Creation { token: token.map(Arc::from), request_sha256: said.into() }
}

/// Service discovery that is changed one law at a time, as the store does it.
#[derive(Default)]
struct World {
    discovery: Discovery,
    next: u128,
    now: i64,
}

impl World {
    fn edit<T>(&mut self, law: impl FnOnce(&mut Edit<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let scope = Scope {
            account: AccountId::parse("123456789012").unwrap(),
            region: Region::parse("eu-central-1").unwrap(),
        };
        self.now += 1;
        let next = &mut self.next;
        let mut fresh = || {
            *next += 1;
            *next
        };
        let mut edit = Edit::new(self.discovery.clone(), scope, Timestamp(self.now), &mut fresh);
        let answer = law(&mut edit)?;
        if let Some((put, remove)) = edit.finish() {
            put.into_iter().for_each(|record| self.discovery.put(record));
            remove.iter().for_each(|key| self.discovery.remove(key));
            self.discovery.version += 1;
        }
        assert_eq!(audit(&self.discovery), Vec::<String>::new());
        Ok(answer)
    }

    fn namespace(&mut self, name: &str, kind: NamespaceKind, token: Option<&str>) -> Result<NamespaceId, Refusal> {
        let new = NewNamespace {
            name: name.to_owned(),
            kind,
            description: None,
            creation: creation(token, name),
            tags: Tags::default(),
        };
        let operation = self.edit(|edit| edit.create_namespace(new))?;
        let operation = self.discovery.operation(&operation).unwrap();
        assert_eq!(operation.kind, OperationKind::CreateNamespace);
        Ok(operation.namespace.clone().unwrap())
    }

    fn service(&mut self, namespace: &NamespaceId, name: &str, kinds: &[RecordKind]) -> Result<ServiceId, Refusal> {
        let new = NewService { dns: config(kinds), ..new_service(namespace, name) };
        Ok(self.edit(|edit| edit.create_service(new))?.id.clone())
    }

    fn register(
        &mut self,
        service: &ServiceId,
        id: &str,
        token: Option<&str>,
        attributes: &[(&str, &str)],
    ) -> Result<OperationId, Refusal> {
        let attributes: BTreeMap<_, _> = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let creation = creation(token, &format!("{attributes:?}"));
        let new = NewInstance { service: service.clone(), id: InstanceId::parse(id).unwrap(), attributes, creation };
        self.edit(|edit| edit.register_instance(new))
    }
}

fn private() -> NamespaceKind {
    NamespaceKind::PrivateDns { vpc: VpcId::of(1), soa_ttl: DEFAULT_SOA_TTL }
}

fn config(kinds: &[RecordKind]) -> Option<DnsConfig> {
    let records = kinds.iter().map(|kind| DnsRecord { kind: *kind, ttl: 60 }).collect();
    (!kinds.is_empty()).then_some(DnsConfig { routing: Routing::Multivalue, records })
}

fn new_service(namespace: &NamespaceId, name: &str) -> NewService {
    NewService {
        namespace: namespace.clone(),
        name: name.to_owned(),
        description: None,
        dns: None,
        http_only: false,
        custom_health: true,
        creation: creation(None, name),
        tags: Tags::default(),
    }
}

#[test]
fn namespaces_have_one_name_each_and_go_when_they_are_empty() {
    let mut world = World::default();
    let shop = world.namespace("shop.local", private(), Some("a")).unwrap();
    assert_eq!(world.namespace("shop.local", private(), Some("a")), Ok(shop.clone()), "the same request again");
    for (name, kind, token, code) in [
        ("shop.local", private(), Some("b"), "NamespaceAlreadyExists"),
        ("Shop.Local", NamespaceKind::Http, None, "NamespaceAlreadyExists"),
        ("arn:shop", NamespaceKind::Http, None, "InvalidInput"),
        ("a b", NamespaceKind::Http, None, "InvalidInput"),
        ("", NamespaceKind::Http, None, "InvalidInput"),
        ("shop..local", private(), None, "InvalidInput"),
        ("eu-central-1.compute.internal", private(), None, "InvalidInput"),
        ("EU-central-1.compute.internal", private(), None, "InvalidInput"),
        (&format!("{}.local", "a".repeat(64)), private(), None, "InvalidInput"),
    ] {
        assert_eq!(world.namespace(name, kind, token).unwrap_err().code(), code, "{name}");
    }
    for (name, kind) in [
        ("a/b", NamespaceKind::Http),
        ("eu-central-1.compute.internal", NamespaceKind::Http),
        ("shop.eu-central-1.compute.internal", private()),
        ("ec2.internal", private()),
        ("internal", private()),
    ] {
        world.namespace(name, kind, None).unwrap();
    }
    let update = |is_http, ttl| {
        let shop = shop.clone();
        move |edit: &mut Edit<'_>| edit.update_namespace(&shop, is_http, Some("new".to_owned()), ttl)
    };
    assert_eq!(world.edit(update(true, None)).unwrap_err().code(), "InvalidInput");
    world.edit(update(false, Some(90))).unwrap();
    let known = world.discovery.namespace(&shop).unwrap();
    assert_eq!(known.kind, NamespaceKind::PrivateDns { vpc: VpcId::of(1), soa_ttl: 90 });
    assert_eq!(known.description.as_deref(), Some("new"));
    let web = world.service(&shop, "web", &[RecordKind::A]).unwrap();
    assert_eq!(world.edit(|edit| edit.delete_namespace(&shop)), Err(Refusal::NamespaceInUse(shop.clone())));
    world.edit(|edit| edit.delete_service(&web, false)).unwrap();
    world.edit(|edit| edit.delete_namespace(&shop)).unwrap();
    assert_eq!(world.edit(|edit| edit.delete_namespace(&shop)).unwrap_err().code(), "NamespaceNotFound");
}

#[test]
fn services_have_the_records_that_their_namespace_can_answer() {
    let mut world = World::default();
    let shop = world.namespace("shop.local", private(), None).unwrap();
    let http = world.namespace("http", NamespaceKind::Http, None).unwrap();
    let (a, srv) = (RecordKind::A, RecordKind::Srv);
    let none: &[RecordKind] = &[];
    for (namespace, name, kinds, http_only, code) in [
        (&shop, "web", &[a][..], false, None),
        (&shop, "WEB", &[a], false, Some("ServiceAlreadyExists")),
        (&shop, "_db._tcp", &[a, srv], false, None),
        (&shop, "twice", &[a, a], false, Some("InvalidInput")),
        (&shop, "bare", none, false, Some("InvalidInput")),
        (&shop, "bare", none, true, None),
        (&shop, "both", &[a], true, Some("InvalidInput")),
        (&http, "web", &[a], false, Some("InvalidInput")),
        (&http, "web", none, false, None),
        (&http, "WEB", none, false, None),
        (&http, "-web", none, false, Some("InvalidInput")),
        (&http, ".", none, false, Some("InvalidInput")),
        (&http, "", none, false, Some("InvalidInput")),
        (&NamespaceId::of(999), "web", none, false, Some("NamespaceNotFound")),
    ] {
        let new = NewService { dns: config(kinds), http_only, ..new_service(namespace, name) };
        let got = world.edit(|edit| edit.create_service(new)).err().map(|refusal| refusal.code());
        assert_eq!(got, code, "{name} {kinds:?}");
    }
    let again = NewService { creation: creation(Some("t"), "x"), ..new_service(&http, "again") };
    let first = world.edit(|edit| edit.create_service(again.clone())).unwrap();
    assert_eq!(world.edit(|edit| edit.create_service(again)).unwrap(), first, "the same request again");

    let db = world.discovery.services().find(|service| service.name == "_db._tcp").unwrap().id.clone();
    let of = |kind, ttl| DnsRecord { kind, ttl };
    for (records, code) in [
        (vec![of(a, 5), of(srv, 6)], None),
        (vec![of(srv, 7)], None),
        (vec![of(a, 5)], Some("InvalidInput")),
        (vec![], Some("InvalidInput")),
    ] {
        let got = world.edit(|edit| edit.update_service(&db, None, Some(records.clone())));
        assert_eq!(got.err().map(|refusal| refusal.code()), code, "{records:?}");
    }
    assert_eq!(world.discovery.service(&db).unwrap().dns.as_ref().unwrap().records, [of(srv, 7)]);
    assert_eq!(world.edit(|edit| edit.delete_service(&db, true)), Err(Refusal::ServiceInUse(db.clone())));
    world.edit(|edit| edit.delete_service(&db, false)).unwrap();
    assert_eq!(world.edit(|edit| edit.delete_service(&db, false)).unwrap_err().code(), "ServiceNotFound");
}

#[test]
fn instances_bring_what_the_records_are_made_of() {
    let mut world = World::default();
    let shop = world.namespace("shop.local", private(), None).unwrap();
    let a = world.service(&shop, "a", &[RecordKind::A]).unwrap();
    let srv = world.service(&shop, "srv", &[RecordKind::Srv]).unwrap();
    let plain = NewService { http_only: true, custom_health: false, ..new_service(&shop, "plain") };
    let plain = world.edit(|edit| edit.create_service(plain)).unwrap().id.clone();
    let (ip, port) = (("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_PORT", "80"));
    let long = "x".repeat(1_025);
    for (service, attributes, code) in [
        (&a, &[ip][..], None),
        (&a, &[port], Some("InvalidInput")),
        (&srv, &[port], None),
        (&srv, &[ip], Some("InvalidInput")),
        (&a, &[("AWS_INSTANCE_IPV4", "10.0.0")], Some("InvalidInput")),
        (&a, &[ip, ("AWS_INSTANCE_PORT", "0")], Some("InvalidInput")),
        (&a, &[ip, ("AWS_INSTANCE_IPV6", "10.0.0.1")], Some("InvalidInput")),
        (&a, &[ip, ("AWS_INIT_HEALTH_STATUS", "SO_SO")], Some("InvalidInput")),
        (&a, &[ip, ("AWS_INIT_HEALTH_STATUS", "UNHEALTHY")], None),
        (&plain, &[("AWS_INIT_HEALTH_STATUS", "UNHEALTHY")], Some("InvalidInput")),
        (&plain, &[], None),
        (&plain, &[("colour", long.as_str())], Some("InvalidInput")),
        (&plain, &[("AWS_ALIAS_DNS_NAME", "lb")], Some("InvalidInput")),
        (&ServiceId::of(999), &[], Some("ServiceNotFound")),
    ] {
        let got = world.register(service, "i-1", None, attributes).err().map(|refusal| refusal.code());
        assert_eq!(got, code, "{attributes:?}");
    }
    let id = InstanceId::parse("i-1").unwrap();
    let health = |world: &World, service| world.discovery.instance(service, &id).unwrap().health;
    assert_eq!(health(&world, &a), Some(CustomHealth::Unhealthy));
    assert_eq!(health(&world, &plain), None);
    world.edit(|edit| edit.set_health(&a, &id, CustomHealth::Healthy)).unwrap();
    assert_eq!(health(&world, &a), Some(CustomHealth::Healthy));
    let other = InstanceId::parse("i-2").unwrap();
    for (service, id, code) in [(&plain, &id, "CustomHealthNotFound"), (&a, &other, "InstanceNotFound")] {
        let got = world.edit(|edit| edit.set_health(service, id, CustomHealth::Healthy));
        assert_eq!(got.unwrap_err().code(), code);
    }
    assert_eq!(world.edit(|edit| edit.delete_service(&a, false)), Err(Refusal::ServiceInUse(a.clone())));
    world.edit(|edit| edit.deregister_instance(&a, &id)).unwrap();
    assert_eq!(world.edit(|edit| edit.deregister_instance(&a, &id)).unwrap_err().code(), "InstanceNotFound");
    assert_eq!(world.discovery.instances_of(&srv).count(), 1, "others' instances are others'");
}

#[test]
fn a_registration_that_comes_again_is_the_same_and_another_with_its_token_is_refused() {
    let mut world = World::default();
    let http = world.namespace("http", NamespaceKind::Http, None).unwrap();
    let web = world.service(&http, "web", &[]).unwrap();
    let first = world.register(&web, "i", Some("t"), &[("a", "1")]).unwrap();
    assert_eq!(world.register(&web, "i", Some("t"), &[("a", "1")]), Ok(first.clone()));
    assert_eq!(world.register(&web, "i", Some("t"), &[("a", "2")]), Err(Refusal::Duplicate(first.clone())));
    assert_ne!(world.register(&web, "i", Some("u"), &[("a", "2")]).unwrap(), first);
    let known = world.discovery.instance(&web, &InstanceId::parse("i").unwrap()).unwrap();
    assert_eq!(known.attributes.get("a").map(String::as_str), Some("2"));
}

#[test]
fn the_oldest_operations_are_forgotten() {
    let mut world = World::default();
    let http = world.namespace("http", NamespaceKind::Http, None).unwrap();
    let made = world.discovery.operations().next().unwrap().id.clone();
    for _ in 0..MAX_OPERATIONS {
        assert!(world.discovery.operation(&made).is_some());
        world.edit(|edit| edit.update_namespace(&http, true, Some("x".to_owned()), None)).unwrap();
    }
    assert!(world.discovery.operation(&made).is_none());
    assert_eq!(world.discovery.operations().count(), MAX_OPERATIONS);
}

#[test]
fn instances_of_a_service_have_a_bound() {
    let mut world = World::default();
    let http = world.namespace("http", NamespaceKind::Http, None).unwrap();
    let web = world.service(&http, "web", &[]).unwrap();
    for number in 0..1_000 {
        world.register(&web, &format!("i{number}"), None, &[]).unwrap();
    }
    assert_eq!(world.register(&web, "one-more", None, &[]), Err(Refusal::Limit("instances")));
    world.register(&web, "i7", None, &[("a", "changed")]).unwrap();
}
