package sseserver

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/midstream-dev/midstream/schema"
)

// What an answer says of the tenant's limit of requests, in the API's words.
const (
	headerLimit     = "X-Ratelimit-Limit-Requests"
	headerRemaining = "X-Ratelimit-Remaining-Requests"
	headerReset     = "X-Ratelimit-Reset-Requests"
)

// maxBuckets bounds how many tenants' buckets are kept.
const maxBuckets = 10_000

// buckets hold what each tenant may still ask of this node: a minute's worth of requests, filled up evenly. They are this
// node's own: a tenant that is spread over n nodes may have n times as much. Safe for concurrent use.
type buckets struct {
	perMinute int

	mu   sync.Mutex
	open map[string]*rate.Limiter
}

func newBuckets(perMinute int) *buckets {
	return &buckets{perMinute: perMinute, open: map[string]*rate.Limiter{}}
}

// take takes one request out of a tenant's bucket, and says what is left in it, less than 0 if there was none to take.
func (b *buckets) take(tenant string, now time.Time) (left float64, taken bool) {
	bucket := b.of(tenant, now)
	taken = bucket.AllowN(now, 1)
	return bucket.TokensAt(now), taken
}

// of returns a tenant's bucket. Where there are too many, the fullest one goes: its tenant loses the least by a new one,
// and gains the least.
func (b *buckets) of(tenant string, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bucket, there := b.open[tenant]; there {
		return bucket
	}
	if len(b.open) >= maxBuckets {
		delete(b.open, b.fullest(now))
	}
	bucket := rate.NewLimiter(rate.Limit(float64(b.perMinute)/time.Minute.Seconds()), b.perMinute)
	b.open[tenant] = bucket
	return bucket
}

func (b *buckets) fullest(now time.Time) (tenant string) {
	most := math.Inf(-1)
	for name, bucket := range b.open {
		if tokens := bucket.TokensAt(now); tokens > most {
			tenant, most = name, tokens
		}
	}
	return tenant
}

// filling is how long a bucket takes to gain that many requests, to the millisecond above.
func (b *buckets) filling(requests float64) time.Duration {
	each := float64(time.Minute) / float64(b.perMinute)
	return time.Duration(math.Ceil(max(requests, 0)*each/float64(time.Millisecond))) * time.Millisecond
}

// limitRate stands before routes that start runs, or ask an upstream. It refuses what is too much before the body is read, and tells every
// caller where it stands.
func (s *Server) limitRate(next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.RequestsPerMinute <= 0 {
		return next
	}
	b := s.buckets
	return func(c echo.Context) error {
		tenant, err := s.cfg.Tenants.Tenant(c.Request())
		if err != nil {
			return err
		}
		left, err := s.spend(tenant)
		h := c.Response().Header()
		h.Set(headerLimit, strconv.Itoa(b.perMinute))
		h.Set(headerRemaining, strconv.Itoa(int(max(left, 0))))
		h.Set(headerReset, b.filling(float64(b.perMinute)-left).String())
		if err != nil {
			return err
		}
		return next(c)
	}
}

// spend takes one request out of a tenant's bucket, and says what is left in it.
func (s *Server) spend(tenant string) (left float64, err error) {
	if s.cfg.RequestsPerMinute <= 0 {
		return 0, nil
	}
	left, taken := s.buckets.take(tenant, time.Now())
	if !taken {
		return left, tooOften(s.buckets.perMinute, s.buckets.filling(1-left))
	}
	return left, nil
}

func tooOften(perMinute int, wait time.Duration) *schema.Error {
	e := schema.Refuse(schema.CodeRateLimit, "",
		"Rate limit reached: %d requests a minute. Please try again in %s.", perMinute, wait)
	e.Status, e.Type, e.RetryAfter = http.StatusTooManyRequests, schema.TypeRateLimit, wait
	return e
}
