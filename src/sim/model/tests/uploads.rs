//! Holds what becomes of an upload: forms in any order, remote files, sizes.

use serde_json::{Value, json};

use super::{Sim, body_of, header, status, word};

const FORM: &str = "multipart/form-data; boundary=----edge";

/// A form whose file part stands where `order` has an `f`; `r` and `t` are room and text.
fn form(order: &str, room: &str, file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in order.chars() {
        body.extend_from_slice(b"------edge\r\n");
        match part {
            'f' => {
                body.extend_from_slice(
                    b"Content-Disposition: form-data; name=\"files\"; filename=\"up \\\"1\\\".png\"\r\nContent-Type: image/png\r\n\r\n",
                );
                body.extend_from_slice(file);
            }
            't' => {
                body.extend_from_slice(b"content-disposition: form-data; name=text\r\n\r\nexample attached")
            }
            _ => {
                let field = format!("Content-Disposition: form-data; name=\"roomId\"\r\n\r\n{room}");
                body.extend_from_slice(field.as_bytes());
            }
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"------edge--\r\n");
    body
}

fn post(sim: &mut Sim, body: Vec<u8>) -> (u16, Value) {
    let headers = [("authorization", "Bearer alice"), ("content-type", FORM)];
    let answer = sim.send("POST", "/v1/messages", &headers, body);
    (status(&answer), body_of(&answer))
}

fn last(sim: &mut Sim) -> Value {
    sim.look("log")["items"].as_array().unwrap().last().unwrap().clone()
}

#[test]
fn an_upload_comes_back_byte_for_byte_whatever_the_order_of_its_fields() {
    let file: Vec<u8> =
        (0..300_000_u32).map(|n| u8::try_from(n * 7 % 256).unwrap()).chain(*b"\r\n------ed").collect();
    for order in ["frt", "rft", "rtf", "trf", "fr"] {
        let mut sim = Sim::unlimited();
        let room = sim.room();
        let (status, message) = post(&mut sim, form(order, &room, &file));
        assert_eq!(status, 200, "{order}: {message}");
        let seen = last(&mut sim);
        assert_eq!((&seen["complete"], &seen["multipart_closed"]), (&json!(true), &json!(true)));
        let url = message["files"][0].as_str().unwrap().strip_prefix("https://webexapis.com").unwrap();
        let answer = sim.get("bob", url);
        assert_eq!(answer.response.body().to_bytes(), file, "{order}");
        assert_eq!(header(&answer, "content-disposition"), "attachment; filename=\"up \\\"1\\\".png\"");
        assert_eq!(header(&answer, "content-type"), "image/png");
    }
}

#[test]
fn a_form_without_its_end_is_refused_and_noted() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let whole = form("frt", &room, b"bytes");
    for cut in [1, 3, 5, 20, whole.len() - 20] {
        let body = whole[..whole.len() - cut].to_vec();
        let is_closed = body.ends_with(b"--edge--") || body.ends_with(b"--edge--\r");
        let (status, _) = post(&mut sim, body);
        assert_eq!(last(&mut sim)["multipart_closed"], is_closed, "{cut}");
        assert_eq!(status == 200, is_closed, "{cut}");
    }
}

#[test]
fn a_remote_file_becomes_a_content_and_its_url_is_remembered_as_written() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    let url = "http://www.example.com/images/media.png?x=%20y";
    let message =
        sim.made("alice", "/v1/messages", &json!({"roomId": room, "text": "Example file", "files": [url]}));
    let id = message["files"][0].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let content = sim.look(&format!("content/{id}"));
    assert_eq!((word(&content, "source"), word(&content, "type")), (url.to_owned(), "image/png".to_owned()));
    let own = json!({"roomId": room, "files": [message["files"][0]]});
    let copy = sim.made("alice", "/v1/messages", &own);
    let copied = copy["files"][0].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(sim.look(&format!("content/{copied}"))["sha256"], content["sha256"]);
}

#[test]
fn what_webex_would_not_attach_is_refused() {
    let mut sim = Sim::unlimited();
    let room = sim.room();
    for files in [json!(["http://a/1", "http://a/2"]), json!(["ftp://a/1"]), json!("http://a/1"), json!([1])]
    {
        let body = json!({"roomId": room, "text": "x", "files": files});
        assert_eq!(status(&sim.write("alice", "POST", "/v1/messages", &body)), 400, "{files}");
    }
    assert_eq!(post(&mut sim, form("ffr", &room, b"x")).0, 400);
    assert_eq!(post(&mut sim, form("f", &room, b"x")).0, 400);
    let large = vec![0; 100 * 1024 * 1024 + 1];
    assert_eq!(post(&mut sim, form("rf", &room, &large)).0, 413);
    assert_eq!(post(&mut sim, form("rf", &room, &large[1..])).0, 200);
}
