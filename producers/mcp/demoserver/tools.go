package demoserver

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Bounds of the tools.
const (
	maxDice    = 100
	maxSides   = 1000
	maxSeconds = 10
)

var rollDiceTool = mcp.NewTool("roll_dice",
	mcp.WithDescription("Roll dice. With a seed, the same dice fall every time."),
	mcp.WithNumber("count", mcp.Description("how many dice"), mcp.Min(1), mcp.Max(maxDice), mcp.DefaultNumber(1)),
	mcp.WithNumber("sides", mcp.Description("how many sides each has"), mcp.Min(2), mcp.Max(maxSides), mcp.DefaultNumber(6)),
	mcp.WithNumber("seed", mcp.Description("makes the roll repeatable")),
	readOnly("Roll dice"))

func rollDice(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	count, sides := req.GetInt("count", 1), req.GetInt("sides", 6)
	if count < 1 || count > maxDice || sides < 2 || sides > maxSides {
		return mcp.NewToolResultErrorf("count must be 1 to %d, sides 2 to %d", maxDice, maxSides), nil
	}
	seed := rand.Uint64()
	if _, ok := req.GetArguments()["seed"]; ok {
		seed = uint64(req.GetInt("seed", 0))
	}
	dice := rand.New(rand.NewPCG(seed, seed))
	rolls, sum := make([]string, count), 0
	for i := range rolls {
		n := dice.IntN(sides) + 1
		sum += n
		rolls[i] = strconv.Itoa(n)
	}
	return mcp.NewToolResultText(fmt.Sprintf("%s (sum %d)", strings.Join(rolls, ", "), sum)), nil
}

// units are what a unit measures, and how many of the base unit (metre, cubic metre a second) it is worth.
var units = map[string]struct {
	measures string
	worth    float64
}{
	"m": {"length", 1}, "km": {"length", 1000}, "ft": {"length", 0.3048}, "mi": {"length", 1609.344},
	"m3/s": {"flow", 1}, "l/s": {"flow", 0.001}, "cfs": {"flow", 0.028316846592},
	"m/s": {"speed", 1}, "km/h": {"speed", 1 / 3.6}, "kn": {"speed", 1852.0 / 3600},
}

var unitNames = slices.Sorted(maps.Keys(units))

var convertUnitsTool = mcp.NewTool("convert_units",
	mcp.WithDescription("Convert a length, a flow or a speed, as one meets them at a river."),
	mcp.WithNumber("value", mcp.Required()),
	mcp.WithString("from", mcp.Required(), mcp.Enum(unitNames...)),
	mcp.WithString("to", mcp.Required(), mcp.Enum(unitNames...)),
	readOnly("Convert units"))

func convertUnits(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	value, err := req.RequireFloat("value")
	if err != nil {
		return mcp.NewToolResultError(err.Error()), nil
	}
	from, known := units[req.GetString("from", "")]
	to, alsoKnown := units[req.GetString("to", "")]
	if !known || !alsoKnown || from.measures != to.measures {
		return mcp.NewToolResultErrorf("cannot convert: units are %s, and both must measure the same", strings.Join(unitNames, ", ")), nil
	}
	text := strconv.FormatFloat(value*from.worth/to.worth, 'g', 6, 64)
	return mcp.NewToolResultText(fmt.Sprintf("%s %s", text, req.GetString("to", ""))), nil
}

// rivers holds well-known figures, rounded as they are usually given.
var rivers = map[string]string{
	"amazon":      "The Amazon rises in the Andes of Peru, runs about 6 400 km, and carries about a fifth of all river water that reaches the sea.",
	"danube":      "The Danube rises in the Black Forest, runs about 2 850 km, and passes through ten countries: more than any other river.",
	"mississippi": "The Mississippi rises at Lake Itasca, runs about 3 770 km, and for a few hours in 1812, after an earthquake, ran backwards.",
	"nile":        "The Nile runs about 6 650 km to the north, and has two sources: the White Nile's near Lake Victoria, the Blue Nile's at Lake Tana.",
	"rhine":       "The Rhine rises in the Swiss Alps, runs about 1 230 km, and is crossed at Basel by ferries that only the current drives.",
	"yangtze":     "The Yangtze runs about 6 300 km, the longest river within one country, and drains a fifth of China.",
}

var riverNames = slices.Sorted(maps.Keys(rivers))

var riverFactsTool = mcp.NewTool("river_facts",
	mcp.WithDescription("Say something true about a river."),
	mcp.WithString("river", mcp.Required(), mcp.Enum(riverNames...)),
	readOnly("River facts"))

func riverFacts(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	fact, known := rivers[strings.ToLower(req.GetString("river", ""))]
	if !known {
		return mcp.NewToolResultErrorf("no such river here; there are %s", strings.Join(riverNames, ", ")), nil
	}
	return mcp.NewToolResultText(fact), nil
}

var slowCountTool = mcp.NewTool("slow_count",
	mcp.WithDescription("Count the seconds aloud, to see progress and to try cancelling."),
	mcp.WithNumber("seconds", mcp.Required(), mcp.Min(0), mcp.Max(maxSeconds)),
	readOnly("Slow count"))

func slowCount(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	seconds := req.GetFloat("seconds", -1)
	if !(seconds >= 0 && seconds <= maxSeconds) {
		return mcp.NewToolResultErrorf("seconds must be 0 to %d", maxSeconds), nil
	}
	end := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer end.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for counted := 1; ; counted++ {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end.C:
			return mcp.NewToolResultText(fmt.Sprintf("counted %g seconds", seconds)), nil
		case <-tick.C:
			progress(ctx, req, counted, seconds)
		}
	}
}

// progress tells the caller how far the count has come, if it asked for that.
func progress(ctx context.Context, req mcp.CallToolRequest, counted int, seconds float64) {
	if req.Params.Meta == nil || req.Params.Meta.ProgressToken == nil {
		return
	}
	// A lost notification is no reason to stop counting.
	_ = server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress", map[string]any{
		"progressToken": req.Params.Meta.ProgressToken,
		"progress":      counted,
		"total":         seconds,
		"message":       strconv.Itoa(counted),
	})
}
