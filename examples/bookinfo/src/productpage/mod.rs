//! The page that people see: asks `details` and `reviews` at once, and shows what it got, from whom.

mod page;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use serde::Deserialize;

use self::page::Page;
use crate::call::{self, END_USER};
use crate::instance::Instance;
use crate::reviews::Reviews;

/// As documents and tokens name it.
pub(crate) const SERVICE: &str = "productpage";

#[derive(Debug, Clone)]
struct Site {
    instance: Instance,
    client: MeshClient,
}

pub(crate) fn app(mesh: &Mesh, instance: &Instance) -> Router {
    let site = Site { instance: instance.clone(), client: MeshClient::new(mesh) };
    Router::new()
        .route("/", get(show))
        .route("/productpage", get(show))
        .route("/login", get(login))
        .route("/logout", get(logout))
        .route("/api/v1/products/{id}/reviews", get(api_reviews))
        .with_state(site)
}

#[derive(Debug, Deserialize)]
struct User {
    u: Option<String>,
}

/// The page for whoever is logged in, by `?u=`, by cookie, or by an `end-user` header already there.
async fn show(State(site): State<Site>, Query(user): Query<User>, headers: HeaderMap) -> Html<String> {
    let user = user.u.filter(|user| is_name(user)).or_else(|| logged_in(&headers));
    let (details, reviews) = tokio::join!(
        call::get(&site.client, "http://details:9080/details/0", user.as_deref()),
        call::get(&site.client, "http://reviews:9080/reviews/0", user.as_deref()),
    );
    let page = Page { instance: &site.instance, user: user.as_deref(), details: &details, reviews: &reviews };
    Html(page.to_string())
}

/// The reviews alone, as JSON; what keeps them away is the caller's to see.
async fn api_reviews(State(site): State<Site>, Path(id): Path<u64>, headers: HeaderMap) -> Response {
    let url = format!("http://reviews:9080/reviews/{id}");
    match call::get::<Reviews>(&site.client, &url, logged_in(&headers).as_deref()).await {
        Ok(reviews) => Json(reviews).into_response(),
        Err(error) => {
            tracing::warn!(%error, "no reviews");
            (StatusCode::BAD_GATEWAY, error.to_string()).into_response()
        }
    }
}

async fn login(Query(user): Query<User>) -> Response {
    let cookie =
        user.u.filter(|user| is_name(user)).map(|user| format!("{USER_COOKIE}={user}; Path=/; HttpOnly"));
    redirect_home(cookie)
}

async fn logout() -> Response {
    redirect_home(Some(format!("{USER_COOKIE}=; Path=/; Max-Age=0")))
}

fn redirect_home(cookie: Option<String>) -> Response {
    let mut response = Redirect::to("/productpage").into_response();
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

fn logged_in(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let cookies = text(COOKIE.as_str()).unwrap_or_default();
    let from_cookie = cookies.split(';').find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == USER_COOKIE).then_some(value)
    });
    text(END_USER).or(from_cookie).filter(|user| is_name(user)).map(str::to_owned)
}

/// It goes into a cookie and a header, so it is plain and short.
fn is_name(user: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&user.len())
        && user.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

const USER_COOKIE: &str = "bookinfo-user";
const USER_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &'static str, value: &'static str, expected: Option<&str>) {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))]);
        assert_eq!(logged_in(&headers).as_deref(), expected, "{name}: {value}");
    }

    #[test]
    fn the_user_is_found_in_header_and_cookie() {
        check("end-user", "jason", Some("jason"));
        check("cookie", "a=b; bookinfo-user=jason", Some("jason"));
        check("cookie", "bookinfo-user=", None);
        check("cookie", "bookinfo-username=jason", None);
        check("end-user", "<script>", None);
    }
}
