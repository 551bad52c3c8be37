//! A server of one's own and a client that signs.

use bytes::Bytes;
use effects::Effects;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use server::machines::{MachineHost, NoMachines};
use server::{Config, KeyPair, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use wire::schema::{Operation, Service};
use wire::{WireError, client};

/// The root key of every test's server.
pub(crate) const KEY: &str = "AKIATESTTESTTESTTEST";
/// Its secret.
pub(crate) const SECRET: &str = "secret/of+the/tests+secret/of+the/tests+";

/// A running server.
pub(crate) struct Harness {
    pub(crate) server: Server,
    pub(crate) effects: Effects,
    /// Not all tests that share this look into it.
    #[allow(dead_code)]
    pub(crate) dir: tempfile::TempDir,
}

/// An answer as it came.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) fn service(name: &str) -> &'static Service {
    shapes::SERVICES.iter().find(|service| service.name == name).unwrap()
}

fn operation(service: &'static Service, name: &str) -> &'static Operation {
    service.operation(name).unwrap_or_else(|| panic!("no operation {name}"))
}

pub(crate) fn credentials() -> wire::sigv4::Credentials {
    wire::sigv4::Credentials { access_key: KEY.to_owned(), secret_key: SECRET.to_owned(), session_token: None }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(change, Arc::new(NoMachines)).await
    }

    /// As [`Harness::start_with`], on a host of one's own.
    pub(crate) async fn start_on(change: impl FnOnce(&mut Config), host: Arc<dyn MachineHost>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("data"));
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        config.listen = vec![free];
        config.link_listen = vec![free];
        config.root_credentials = Some(KeyPair { access_key_id: KEY.to_owned(), secret_access_key: SECRET.to_owned() });
        change(&mut config);
        let effects = Effects::real();
        let server = server::serve(config, effects.clone(), host).await.unwrap();
        Self { server, effects, dir }
    }

    fn address(&self) -> SocketAddr {
        self.server.endpoints()[0]
    }

    pub(crate) fn now(&self) -> wire::Timestamp {
        wire::Timestamp::from_millis(self.effects.now().0)
    }

    /// The request of a call, not signed yet.
    pub(crate) fn request(&self, service: &'static Service, name: &str, input: &Value) -> (Parts, Bytes) {
        let call = client::encode_request(service, operation(service, name), input);
        let request =
            http::Request::post(format!("http://{}/", self.address())).header("content-type", call.content_type);
        let request = match call.target {
            Some(target) => request.header("x-amz-target", target),
            None => request,
        };
        (request.body(()).unwrap().into_parts().0, call.body)
    }

    /// Makes a call in a region as the root user.
    pub(crate) async fn call_in(&self, region: &str, name: &str, op: &str, input: &Value) -> Result<Value, WireError> {
        self.call_as(&credentials(), region, (name, op), input).await
    }

    /// Makes a call in a region with somebody's key.
    pub(crate) async fn call_as(
        &self,
        credentials: &wire::sigv4::Credentials,
        region: &str,
        (name, op): (&str, &str),
        input: &Value,
    ) -> Result<Value, WireError> {
        let service = service(name);
        let (mut parts, body) = self.request(service, op, input);
        let scope = (region, service.signing_name);
        wire::sigv4::sign(&mut parts, &body, credentials, scope, self.now()).unwrap();
        let answer = self.send(parts, body).await;
        assert!(answer.headers.contains_key("x-amzn-requestid"), "every answer has a request id");
        client::decode_response(service, operation(service, op), answer.status, &answer.body)
    }

    pub(crate) async fn call(&self, service: &str, operation: &str, input: &Value) -> Result<Value, WireError> {
        self.call_in("us-east-1", service, operation, input).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, mut parts: Parts, body: Bytes) -> Answer {
        let stream = TcpStream::connect(self.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.effects.spawn("test connection", async move {
            let _ = connection.await;
        });
        if let Some(authority) = parts.uri.authority().cloned() {
            parts.headers.entry("host").or_insert_with(|| authority.as_str().parse().unwrap());
        }
        parts.uri = parts.uri.path_and_query().map_or("/", |path| path.as_str()).parse().unwrap();
        let response = sender.send_request(http::Request::from_parts(parts, Full::new(body))).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}
