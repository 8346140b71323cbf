//! The page as HTML; every word that came from elsewhere is escaped.

use std::fmt;

use crate::call::CallError;
use crate::details::Details;
use crate::instance::Instance;
use crate::reviews::{Rating, Review, Reviews};

/// What is shown.
pub(super) struct Page<'a> {
    pub(super) instance: &'a Instance,
    pub(super) user: Option<&'a str>,
    pub(super) details: &'a Result<Details, CallError>,
    pub(super) reviews: &'a Result<Reviews, CallError>,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        f.write_str("<header><span class=\"brand\">Bookinfo</span>")?;
        match self.user {
            Some(user) => write!(f, "<span>{} · <a href=\"/logout\">log out</a></span>", Escaped(user))?,
            None => f.write_str("<a href=\"/login?u=jason\">log in as jason</a>")?,
        }
        f.write_str("</header><main><h1>The Comedy of Errors</h1><div class=\"columns\">")?;
        self.details(f)?;
        self.reviews(f)?;
        write!(f, "</div></main><footer>page by {}</footer></body></html>", Escaped(&self.instance.instance))
    }
}

impl Page<'_> {
    fn details(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<section class=\"details\"><h2>Book details</h2>")?;
        match self.details {
            Ok(details) => {
                f.write_str("<dl>")?;
                let rows: [(&str, &dyn fmt::Display); 7] = [
                    ("Author", &details.author),
                    ("Year", &details.year),
                    ("Binding", &details.binding),
                    ("Pages", &details.pages),
                    ("Publisher", &details.publisher),
                    ("Language", &details.language),
                    ("ISBN", &details.isbn_13),
                ];
                for (name, value) in rows {
                    write!(f, "<dt>{name}</dt><dd>{}</dd>", Escaped(&value.to_string()))?;
                }
                f.write_str("</dl>")?;
            }
            Err(error) => unavailable(f, "details", error)?,
        }
        f.write_str("</section>")
    }

    fn reviews(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<section class=\"reviews\"><h2>Reviews")?;
        match self.reviews {
            Ok(reviews) => {
                let (version, instance) = (Escaped(&reviews.version), Escaped(&reviews.instance));
                write!(f, " <span class=\"badge {version}\">{version}</span></h2>")?;
                for review in &reviews.reviews {
                    one_review(f, review)?;
                }
                write!(f, "<p class=\"origin\">answered by {instance}</p>")?;
            }
            Err(error) => {
                f.write_str("</h2>")?;
                unavailable(f, "reviews", error)?;
            }
        }
        f.write_str("</section>")
    }
}

fn one_review(f: &mut fmt::Formatter<'_>, review: &Review) -> fmt::Result {
    f.write_str("<blockquote>")?;
    match &review.rating {
        None => {}
        Some(Rating::Stars { stars, color }) => {
            let full = usize::try_from(*stars).unwrap_or(STARS_MAX).min(STARS_MAX);
            write!(
                f,
                "<p class=\"stars {}\" aria-label=\"{full} of {STARS_MAX} stars\">{}<span class=\"empty\">{}</span></p>",
                Escaped(color),
                "★".repeat(full),
                "★".repeat(STARS_MAX - full),
            )?;
        }
        Some(Rating::Unavailable { error }) => write!(f, "<p class=\"error\">{}</p>", Escaped(error))?,
    }
    write!(f, "<p>{}</p><cite>{}</cite></blockquote>", Escaped(&review.text), Escaped(&review.reviewer))
}

fn unavailable(f: &mut fmt::Formatter<'_>, what: &str, error: &CallError) -> fmt::Result {
    tracing::warn!(%error, "{what} unavailable");
    write!(f, "<p class=\"error\">Sorry, {what} are currently unavailable for this book.</p>")?;
    write!(f, "<p class=\"origin\">{}</p>", Escaped(&error.to_string()))
}

/// Text that may come from anywhere, as HTML shows it; also safe inside a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => fmt::Write::write_char(f, character)?,
            }
        }
        Ok(())
    }
}

const STARS_MAX: usize = 5;
const HEAD: &str = include_str!("head.html");

#[cfg(test)]
mod tests {
    use super::*;

    fn page(reviews: Result<Reviews, CallError>, user: Option<&str>) -> String {
        let instance = Instance::new("productpage", "v1".into(), Some("page-1".into()));
        let details = Err(CallError::Status {
            url: "http://details:9080/details/0".into(),
            status: http::StatusCode::SERVICE_UNAVAILABLE,
            body: "no healthy upstream".into(),
        });
        Page { instance: &instance, user, details: &details, reviews: &reviews }.to_string()
    }

    fn reviews(version: &str, rating: Option<Rating>) -> Result<Reviews, CallError> {
        let review = Review { reviewer: "R".into(), text: "<b>good</b>".into(), rating };
        Ok(Reviews {
            id: "0".into(),
            version: version.into(),
            instance: "reviews-1".into(),
            reviews: vec![review],
        })
    }

    #[test]
    fn stars_have_the_colour_of_their_version() {
        let stars = |color: &str| Some(Rating::Stars { stars: 4, color: color.into() });
        assert!(!page(reviews("v1", None), None).contains("class=\"stars"));
        let black = page(reviews("v2", stars("black")), None);
        assert!(black.contains("class=\"stars black\" aria-label=\"4 of 5 stars\">★★★★<span"), "{black}");
        assert!(page(reviews("v3", stars("red")), None).contains("class=\"stars red\""));
    }

    #[test]
    fn the_page_says_who_answered_and_what_failed() {
        let page = page(reviews("v2", None), Some("jason"));
        assert!(page.contains("answered by reviews-1"));
        assert!(page.contains("details are currently unavailable"));
        assert!(page.contains("503 Service Unavailable: no healthy upstream"));
        assert!(page.contains("jason"));
    }

    #[test]
    fn foreign_words_are_escaped() {
        let page =
            page(reviews("\"><script>", Some(Rating::Unavailable { error: "<i>".into() })), Some("<u>"));
        assert!(!page.contains("<script>") && !page.contains("<b>good") && !page.contains("<i>"));
        assert!(!page.contains("<u>"));
        assert!(page.contains("&lt;b&gt;good&lt;/b&gt;"));
    }
}
