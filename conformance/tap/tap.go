// Package tap writes the lines of the Test Anything Protocol, for the OCI runtime-tools' programs:
// the package they import for that is not in Debian. It has the functions that they call, no others.
package tap

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// T is one program's report.
type T struct {
	said *said
	todo string
}

// What has been said so far.
type said struct {
	points int
	// Whether the last line is a point, to which data can belong.
	atPoint bool
}

// New begins a report.
func New() *T {
	return &T{said: new(said)}
}

// Header opens the report; with a number of points, which is its plan.
func (t *T) Header(points int) {
	fmt.Println("TAP version 13")
	if points > 0 {
		fmt.Printf("1..%d\n", points)
	}
}

// AutoPlan ends a report that began without a plan.
func (t *T) AutoPlan() {
	fmt.Printf("1..%d\n", t.said.points)
}

func (t *T) point(verdict, description string) {
	t.said.points++
	t.said.atPoint = true
	fmt.Printf("%s %d - %s%s\n", verdict, t.said.points, description, t.todo)
}

// Ok reports a point that passed, or did not.
func (t *T) Ok(passed bool, description string) {
	if passed {
		t.point("ok", description)
	} else {
		t.point("not ok", description)
	}
}

// Pass reports a point that passed.
func (t *T) Pass(description string) {
	t.Ok(true, description)
}

// Fail reports a point that did not.
func (t *T) Fail(description string) {
	t.Ok(false, description)
}

// Skip reports so many points that could not be tried.
func (t *T) Skip(count int, description string) {
	for range make([]struct{}, count) {
		t.point("ok", "# SKIP "+description)
	}
}

// Todo is the same report, whose points need not pass.
func (t *T) Todo() *T {
	return &T{said: t.said, todo: " # TODO"}
}

// Diagnostic prints a comment.
func (t *T) Diagnostic(message string) {
	fmt.Println("# " + strings.ReplaceAll(message, "\n", "\n# "))
}

// Diagnosticf prints a comment.
func (t *T) Diagnosticf(format string, arguments ...any) {
	t.Diagnostic(fmt.Sprintf(format, arguments...))
}

// TheProgram is the point of a program that reports an error without one: src/suites/world.rs knows it.
const TheProgram = "(the program)"

// YAML attaches data to the last point. Some programs report what they find by an error in such data alone,
// with no point and an exit code of 0: it gets a point, which did not pass.
func (t *T) YAML(data any) error {
	// JSON is YAML.
	text, err := json.Marshal(data)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return err
	}
	var members map[string]any
	if json.Unmarshal(text, &members) == nil && members["error"] != nil && !t.said.atPoint {
		t.Fail(TheProgram)
	}
	t.said.atPoint = false
	fmt.Printf("  ---\n  %s\n  ...\n", text)
	return nil
}
