//! A signed client in this process: a storm calls thousands of times, and a Python process for each would be most of the load.
//!
//! One connection per call, blocking, so that a server that is killed is seen at once and nothing is left in a pool.

use crate::harness::{Cluster, PATIENCE};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use wire::{WireError, schema::Service, sigv4};

/// Between two tries of a call that nobody answered.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Whom to call and as whom.
#[derive(Clone)]
pub(crate) struct Api {
    address: String,
    region: String,
    credentials: sigv4::Credentials,
    /// Milliseconds this client's clock is ahead of the machine's.
    ahead: Arc<AtomicI64>,
}

/// Why there is no answer to use.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody answered, or not to the end: what was asked may have been done or not.
    #[allow(dead_code)] // Shown when a call gives up.
    NoAnswer(String),
    /// The server said no.
    Refused(WireError),
}

impl Cluster {
    /// A client of this cluster.
    pub(crate) fn api(&self) -> Api {
        Api::of(&self.environment())
    }
}

impl Api {
    /// A client of whom these variables name.
    pub(crate) fn of(environment: &[(String, String)]) -> Self {
        let of = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, v)| v.clone()).unwrap();
        let credentials = sigv4::Credentials {
            access_key: of("AWS_ACCESS_KEY_ID"),
            secret_key: of("AWS_SECRET_ACCESS_KEY"),
            session_token: None,
        };
        let address = of("AWS_ENDPOINT_URL").trim_start_matches("http://").to_owned();
        Self { address, region: of("AWS_REGION"), credentials, ahead: Arc::default() }
    }

    /// Sets this client's clock, and those of its clones, ahead of the machine's.
    pub(crate) fn set_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }

    /// One call of an ECS operation.
    pub(crate) fn try_ecs(&self, operation: &str, input: &Value) -> Result<Value, Trouble> {
        self.call(&shapes::ecs::SERVICE, operation, input)
    }

    /// Calls until there is an answer; it must be a good one. What is asked must be safe to ask twice.
    pub(crate) fn ecs(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::ecs::SERVICE, operation, input)
    }

    /// The same of EC2.
    pub(crate) fn ec2(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::ec2::SERVICE, operation, input)
    }

    /// The same of Cloud Map.
    pub(crate) fn discovery(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::servicediscovery::SERVICE, operation, input)
    }

    /// The same of Secrets Manager.
    pub(crate) fn secrets(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::secretsmanager::SERVICE, operation, input)
    }

    /// One call of Secrets Manager.
    pub(crate) fn try_secrets(&self, operation: &str, input: &Value) -> Result<Value, Trouble> {
        self.call(&shapes::secretsmanager::SERVICE, operation, input)
    }

    /// The same of Systems Manager.
    pub(crate) fn ssm(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::ssm::SERVICE, operation, input)
    }

    /// One call of STS.
    pub(crate) fn try_sts(&self, operation: &str, input: &Value) -> Result<Value, Trouble> {
        self.call(&shapes::sts::SERVICE, operation, input)
    }

    /// The same client with other credentials.
    pub(crate) fn with(&self, access_key: String, secret_key: String, token: String) -> Self {
        let credentials = sigv4::Credentials { access_key, secret_key, session_token: Some(token) };
        Self { credentials, ..self.clone() }
    }

    /// The same of STS.
    pub(crate) fn sts(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::sts::SERVICE, operation, input)
    }

    /// The same of IAM.
    pub(crate) fn iam(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::iam::SERVICE, operation, input)
    }

    /// A role that tasks may have, which may do so much; one that is there already is taken as it is.
    pub(crate) fn task_role(&self, name: &str, statements: &Value) -> String {
        let trust = serde_json::json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ]});
        let input = serde_json::json!({"RoleName": name, "AssumeRolePolicyDocument": trust.to_string()});
        match self.call(&shapes::iam::SERVICE, "CreateRole", &input) {
            Err(Trouble::Refused(error)) => assert_eq!(error.code, "EntityAlreadyExists"),
            Err(trouble) => panic!("{trouble:?}"),
            Ok(_) => {
                let document = serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string();
                let input = serde_json::json!({"RoleName": name, "PolicyName": "own", "PolicyDocument": document});
                self.iam("PutRolePolicy", &input);
            }
        }
        format!("arn:aws:iam::000000000000:role/{name}")
    }

    /// The same of Auto Scaling.
    pub(crate) fn scaling(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::autoscaling::SERVICE, operation, input)
    }

    /// The same client with another key.
    pub(crate) fn with_key(&self, access_key: &str, secret_key: &str) -> Self {
        let (access_key, secret_key) = (access_key.to_owned(), secret_key.to_owned());
        Self { credentials: sigv4::Credentials { access_key, secret_key, session_token: None }, ..self.clone() }
    }

    /// The same of Cost Explorer.
    pub(crate) fn costs(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::ce::SERVICE, operation, input)
    }

    /// One call of the Logs service.
    pub(crate) fn try_logs(&self, operation: &str, input: &Value) -> Result<Value, Trouble> {
        self.call(&shapes::logs::SERVICE, operation, input)
    }

    /// The same of the Logs service.
    pub(crate) fn logs(&self, operation: &str, input: &Value) -> Value {
        self.surely(&shapes::logs::SERVICE, operation, input)
    }

    #[allow(clippy::disallowed_methods)] // A blocking client over real time.
    fn surely(&self, service: &'static Service, operation: &str, input: &Value) -> Value {
        let tries = PATIENCE.as_millis() / ASK_AGAIN.as_millis();
        let mut last = None;
        for _ in 0..tries {
            match self.call(service, operation, input) {
                Ok(answer) => return answer,
                Err(Trouble::Refused(error)) if error.status < 500 => panic!("{operation} {input}: {error:?}"),
                Err(trouble) => last = Some(trouble),
            }
            std::thread::sleep(ASK_AGAIN);
        }
        panic!("{operation} {input}: {last:?}")
    }

    fn call(&self, service: &'static Service, operation: &str, input: &Value) -> Result<Value, Trouble> {
        let operation = service.operation(operation).expect("the service has it");
        let call = wire::client::encode_request(service, operation, input);
        let mut request = http::Request::post(format!("http://{}/", self.address))
            .header(http::header::CONTENT_TYPE, call.content_type);
        if let Some(target) = call.target {
            request = request.header("x-amz-target", target);
        }
        let mut request = request.body(()).unwrap().into_parts().0;
        let now = jiff::Timestamp::now().as_millisecond() + self.ahead.load(Ordering::Relaxed);
        let scope = (self.region.as_str(), service.signing_name);
        sigv4::sign(&mut request, &call.body, &self.credentials, scope, wire::Timestamp::from_millis(now)).unwrap();
        let mut head = String::from("POST / HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", call.body.len()));
        let (status, body) =
            self.exchange(head.as_bytes(), &call.body).map_err(|e| Trouble::NoAnswer(e.to_string()))?;
        wire::client::decode_response(service, operation, status, &body).map_err(Trouble::Refused)
    }

    /// An answer counts only if it is whole.
    fn exchange(&self, head: &[u8], body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let half = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head)?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(half)?;
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(half)?;
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let body = answer.split_off(end + 4);
        if length != Some(body.len()) { Err(half()) } else { Ok((status, body)) }
    }
}
