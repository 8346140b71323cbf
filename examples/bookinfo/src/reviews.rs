//! What readers say about a book. Versions after the first ask `ratings` for stars, over gRPC.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Json;
use axum::routing::get;
use http::HeaderMap;
use mesh_client::MeshChannel;
use mesh_core::Mesh;
use serde::{Deserialize, Serialize};

use crate::call::END_USER;
use crate::instance::Instance;
use crate::ratings::proto::GetRatingsRequest;
use crate::ratings::proto::ratings_client::RatingsClient;

/// All reviews of one book, and which copy of the service knew them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reviews {
    pub(crate) id: String,
    pub(crate) version: String,
    #[serde(rename = "podname")]
    pub(crate) instance: String,
    pub(crate) reviews: Vec<Review>,
}

/// One opinion.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Review {
    pub(crate) reviewer: String,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rating: Option<Rating>,
}

/// Stars, or why there are none.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Rating {
    /// How many, in which colour.
    Stars { stars: u32, color: String },
    /// For the reader.
    Unavailable { error: String },
}

#[derive(Debug, Clone)]
struct Shelf {
    instance: Instance,
    ratings: RatingsClient<MeshChannel>,
}

pub(crate) fn app(mesh: &Mesh, instance: &Instance) -> Router {
    let ratings = RatingsClient::new(MeshChannel::new(mesh, "ratings:9080"));
    let shelf = Shelf { instance: instance.clone(), ratings };
    Router::new().route("/reviews/{id}", get(reviews)).with_state(shelf)
}

async fn reviews(State(mut shelf): State<Shelf>, Path(id): Path<u64>, headers: HeaderMap) -> Json<Reviews> {
    let ratings = match color(&shelf.instance.version) {
        None => Ratings::NotAsked,
        Some(color) => shelf.ask(id, &headers, color).await,
    };
    let reviews = OPINIONS.iter().map(|&(reviewer, text)| Review {
        reviewer: reviewer.to_owned(),
        text: text.to_owned(),
        rating: ratings.of(reviewer),
    });
    Json(Reviews {
        id: id.to_string(),
        version: shelf.instance.version.to_string(),
        instance: shelf.instance.instance.to_string(),
        reviews: reviews.collect(),
    })
}

/// What `ratings` said.
enum Ratings {
    NotAsked,
    Given { stars: HashMap<String, u32>, color: &'static str },
    Unavailable,
}

impl Shelf {
    async fn ask(&mut self, product_id: u64, headers: &HeaderMap, color: &'static str) -> Ratings {
        let mut request = tonic::Request::new(GetRatingsRequest { product_id });
        let end_user = headers.get(END_USER).and_then(|value| value.to_str().ok());
        if let Some(Ok(end_user)) = end_user.map(str::parse) {
            request.metadata_mut().insert(END_USER, end_user);
        }
        match self.ratings.get_ratings(request).await {
            Ok(response) => Ratings::Given { stars: response.into_inner().stars, color },
            Err(status) => {
                tracing::warn!(code = ?status.code(), message = status.message(), "no ratings");
                Ratings::Unavailable
            }
        }
    }
}

impl Ratings {
    fn of(&self, reviewer: &str) -> Option<Rating> {
        match self {
            Self::NotAsked => None,
            Self::Given { stars, color } => {
                Some(Rating::Stars { stars: *stars.get(reviewer)?, color: (*color).to_owned() })
            }
            Self::Unavailable => {
                Some(Rating::Unavailable { error: "Ratings are currently unavailable".to_owned() })
            }
        }
    }
}

/// The first version shows no stars.
fn color(version: &str) -> Option<&'static str> {
    match version {
        "v1" => None,
        "v3" => Some("red"),
        _ => Some("black"),
    }
}

const OPINIONS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "Two pairs of twins, one town, and not a soul who can tell them apart. It is over in an evening, and I laughed \
         through most of it.",
    ),
    (
        "Reviewer2",
        "Slight beside the later plays, but it moves like clockwork. Good company for a train journey.",
    ),
];
