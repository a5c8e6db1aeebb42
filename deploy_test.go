package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// workload is one process of a deployment, whether Compose or Kubernetes describes it.
type workload struct {
	name, image string
	env         map[string]string
	port        int           // that it listens on for HTTP; 0: none
	grace       time.Duration // from the first signal to the last, less what it is told to wait before
}

func (w workload) node() bool { return w.image == "midstream" }

// composed reads deploy/compose.yaml.
func composed(t *testing.T) (all []workload) {
	t.Helper()
	var file struct {
		Services map[string]struct {
			Image       string            `yaml:"image"`
			Environment map[string]string `yaml:"environment"`
			EnvFile     []string          `yaml:"env_file"`
			Ports       []string          `yaml:"ports"`
			Grace       string            `yaml:"stop_grace_period"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "deploy/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	for name, s := range file.Services {
		w := workload{name: "compose " + name, image: s.Image, env: s.Environment}
		for _, path := range s.EnvFile {
			maps.Copy(w.env, environment(t, filepath.Join("deploy", path)))
		}
		for _, port := range s.Ports {
			w.port = number(t, port[strings.LastIndex(port, ":")+1:])
		}
		var err error
		if w.grace, err = time.ParseDuration(s.Grace); err != nil {
			t.Error(err)
		}
		all = append(all, w)
	}
	return all
}

// manifest is what these tests look at in deploy/kubernetes.
type manifest struct {
	Kind       string            `yaml:"kind"`
	StringData map[string]string `yaml:"stringData"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Replicas int `yaml:"replicas"`
		Template struct {
			Spec struct {
				Grace      int         `yaml:"terminationGracePeriodSeconds"`
				Containers []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type container struct {
	Image string `yaml:"image"`
	Env   []struct {
		Name      string         `yaml:"name"`
		Value     string         `yaml:"value"`
		ValueFrom map[string]any `yaml:"valueFrom"`
	} `yaml:"env"`
	EnvFrom []any `yaml:"envFrom"`
	Ports   []struct {
		Name string `yaml:"name"`
		Port int    `yaml:"containerPort"`
	} `yaml:"ports"`
	Lifecycle struct {
		PreStop struct {
			Sleep struct {
				Seconds int `yaml:"seconds"`
			} `yaml:"sleep"`
		} `yaml:"preStop"`
	} `yaml:"lifecycle"`
	Startup   probe `yaml:"startupProbe"`
	Liveness  probe `yaml:"livenessProbe"`
	Readiness probe `yaml:"readinessProbe"`
}

type probe struct {
	Get struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

// manifests reads deploy/kubernetes, the template of the secret too.
func manifests(t *testing.T) (all []manifest) {
	t.Helper()
	files, err := filepath.Glob("deploy/kubernetes/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		for in := yaml.NewDecoder(strings.NewReader(readFile(t, file))); ; {
			var m manifest
			if err := in.Decode(&m); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, m)
		}
	}
	return all
}

// orchestrated are the workloads of deploy/kubernetes.
func orchestrated(t *testing.T) (all []workload) {
	t.Helper()
	for _, m := range manifests(t) {
		for _, c := range m.Spec.Template.Spec.Containers {
			w := workload{name: m.Kind + " " + m.Metadata.Name, image: c.Image, env: map[string]string{}}
			w.grace = time.Duration(m.Spec.Template.Spec.Grace-c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
			for _, e := range c.Env {
				w.env[e.Name] = e.Value
			}
			if len(c.EnvFrom) > 0 {
				maps.Copy(w.env, environment(t, "deploy/nats/nats.env"))
			}
			for _, p := range c.Ports {
				if p.Name == "http" {
					w.port = p.Port
				}
			}
			all = append(all, w)
		}
	}
	return all
}

// environment reads a file of NAME=value.
func environment(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(readFile(t, path)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			all[name] = value
		}
	}
	return all
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// deployments calls test for each way to deploy, with its NATS servers and its nodes.
func deployments(t *testing.T, test func(t *testing.T, servers, nodes []workload)) {
	t.Helper()
	for name, all := range map[string][]workload{"compose": composed(t), "kubernetes": orchestrated(t)} {
		t.Run(name, func(t *testing.T) {
			var servers, nodes []workload
			for _, w := range all {
				if w.node() {
					nodes = append(nodes, w)
				} else {
					servers = append(servers, w)
				}
			}
			if len(servers) == 0 || len(nodes) < 2 {
				t.Fatalf("%d servers, %d nodes", len(servers), len(nodes))
			}
			test(t, servers, nodes)
		})
	}
}

// TestDeploy_Nodes promises that each node of deploy/ starts on what it is given: every variable is a setting, the
// configuration holds, a gateway listens where its port leads to, and a stop has the time that it may take.
func TestDeploy_Nodes(t *testing.T) {
	var c command
	parser, err := kong.New(&c, kong.DefaultEnvars("MIDSTREAM"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"GOMEMLIMIT": true} // Go's own
	for _, command := range parser.Model.Children {
		for _, flag := range command.Flags {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
	}
	deployments(t, func(t *testing.T, _, nodes []workload) {
		roles := map[string]bool{}
		for _, w := range nodes {
			for name, value := range w.env {
				if !known[name] {
					t.Errorf("%s: %s is no setting", w.name, name)
				}
				switch name {
				case "MIDSTREAM_NATS_SECRET_KEY":
					value = base64.StdEncoding.EncodeToString(make([]byte, 32))
				case "MIDSTREAM_NATS_OTHER_KEYS":
					value = "" // as it is while no key is changed
				case "MIDSTREAM_NATS_PASSWORD", "MIDSTREAM_NODE":
					value = "x"
				}
				t.Setenv(name, value)
			}
			cfg := mustLoad(t, readFile(t, "deploy/midstream/midstream.yaml"))
			if _, err := cfg.broker(); err != nil {
				t.Errorf("%s: %v", w.name, err)
			}
			if cfg.NATS.Replicas != 3 || len(cfg.NATS.Monitor) != 3 || strings.Count(cfg.NATS.URL, ",") != 2 {
				t.Errorf("%s: NATS is %+v", w.name, cfg.NATS)
			}
			roles[strings.Join(cfg.Roles, " ")] = true
			if _, port, err := net.SplitHostPort(cfg.Listen); err != nil || (cfg.HasRole(roleGateway) && number(t, port) != w.port) {
				t.Errorf("%s listens on %s, its port is %d: %v", w.name, cfg.Listen, w.port, err)
			}
			if may := cfg.Limits.Drain + closeTimeout; w.grace < may {
				t.Errorf("%s is killed after %v, a stop may take %v", w.name, w.grace, may)
			}
		}
		if diff := cmp.Diff(map[string]bool{roleGateway: true, roleProducer: true}, roles); diff != "" {
			t.Errorf("roles (-want +got):\n%s", diff)
		}
	})
}

// TestDeploy_Probes promises that what Kubernetes asks for is there: a port of the container, and a route of the gateway.
func TestDeploy_Probes(t *testing.T) {
	node := serveNode(t, "--nats.data="+t.TempDir(), "--nats.sync=1s")
	for _, m := range manifests(t) {
		for _, c := range m.Spec.Template.Spec.Containers {
			for _, p := range []probe{c.Startup, c.Liveness, c.Readiness} {
				if p.Get.Path == "" {
					continue
				}
				found := false
				for _, port := range c.Ports {
					found = found || port.Name == p.Get.Port
				}
				if !found {
					t.Errorf("%s %s has no port %s", m.Kind, m.Metadata.Name, p.Get.Port)
				}
				if c.Image != "midstream" {
					continue
				}
				if resp, _ := node.do(t, http.MethodGet, p.Get.Path, "", nil); resp.StatusCode != http.StatusOK {
					t.Errorf("GET %s: %s", p.Get.Path, resp.Status)
				}
			}
		}
	}
}

// TestDeploy_Servers promises that each NATS server of deploy/ is given every variable that its configuration asks for, and
// that the configuration is what the broker needs.
func TestDeploy_Servers(t *testing.T) {
	t.Parallel()
	conf := readFile(t, "deploy/nats/nats.conf")
	asked := map[string]bool{}
	for line := range strings.Lines(conf) {
		code, _, _ := strings.Cut(line, "#")
		for _, m := range regexp.MustCompile(`\$([A-Z_]+)`).FindAllStringSubmatch(code, -1) {
			asked[m[1]] = true
		}
	}
	deployments(t, func(t *testing.T, servers, _ []workload) {
		for _, w := range servers {
			given := map[string]bool{}
			for name := range w.env {
				given[name] = name != "GOMEMLIMIT"
			}
			maps.DeleteFunc(given, func(_ string, of bool) bool { return !of })
			if diff := cmp.Diff(asked, given); diff != "" {
				t.Errorf("%s (-asked +given):\n%s", w.name, diff)
			}
			if want := "nats:" + moduleVersion(t, "github.com/nats-io/nats-server/v2") + "-alpine"; w.image != want {
				t.Errorf("%s runs %s, the tests %s", w.name, w.image, want)
			}
		}
	})
	for _, line := range []string{fmt.Sprintf("max_payload: %dMB\n", schema.MaxPayload>>20), "  sync_interval: always\n"} {
		if !strings.Contains(conf, line) {
			t.Errorf("nats.conf has not: %s", line)
		}
	}
}

// TestDeploy_Store promises that a server may keep more than the streams of the defaults reserve.
func TestDeploy_Store(t *testing.T) {
	t.Parallel()
	const others = 1<<30 + 64<<20 // MS_INGEST and MS_CONTROL
	store := strings.TrimSuffix(environment(t, "deploy/nats/nats.env")["NATS_MAX_FILE_STORE"], "GB")
	if need := broker.DefaultLogBytes + broker.DefaultRunBytes + broker.DefaultConversationBytes + others; number(t, store)<<30 < 3*need/2 {
		t.Errorf("%s GB, %d bytes are reserved: the archive has too little", store, need)
	}
}

// TestDeploy_Permissions promises that the archive of each partition can be erased from, and no log.
func TestDeploy_Permissions(t *testing.T) {
	t.Parallel()
	want := []string{"MS_CONVERSATIONS"}
	for p := range broker.DefaultPartitions {
		want = append(want, fmt.Sprintf("MS_ARCHIVE_%d", p))
	}
	var got []string
	for _, m := range regexp.MustCompile(`"\$JS\.API\.STREAM\.MSG\.DELETE\.(.*)"`).FindAllStringSubmatch(readFile(t, "deploy/nats/permissions.conf"), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("erasure (-want +got):\n%s", diff)
	}
}

// TestDeploy_Secrets promises that what is secret has one name everywhere, and no value in the repository.
func TestDeploy_Secrets(t *testing.T) {
	t.Parallel()
	example := environment(t, "deploy/secrets.env.example")
	for name, value := range example {
		if value != "" {
			t.Errorf("%s has a value", name)
		}
	}
	used := map[string]string{}
	for _, m := range manifests(t) {
		if m.Kind == "Secret" {
			if diff := cmp.Diff(example, m.StringData); diff != "" {
				t.Errorf("the template of the secret (-secrets.env.example +template):\n%s", diff)
			}
		}
		for _, c := range m.Spec.Template.Spec.Containers {
			for _, e := range c.Env {
				if ref, ok := e.ValueFrom["secretKeyRef"].(map[string]any); ok {
					used[fmt.Sprint(ref["key"])] = ""
				}
			}
		}
	}
	if diff := cmp.Diff(example, used); diff != "" {
		t.Errorf("kubernetes (-secrets.env.example +used):\n%s", diff)
	}
	used = map[string]string{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(readFile(t, "deploy/compose.yaml"), -1) {
		used[m[1]] = ""
	}
	if diff := cmp.Diff(example, used); diff != "" {
		t.Errorf("compose (-secrets.env.example +used):\n%s", diff)
	}
}

// TestDeploy_GoVersion promises that the image is built with the Go that go.mod asks for.
func TestDeploy_GoVersion(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readFile(t, "go.mod"))[1]
	if !strings.Contains(readFile(t, "deploy/Dockerfile"), "FROM golang:"+want+" AS build\n") {
		t.Errorf("the Dockerfile does not build with Go %s", want)
	}
}

// moduleVersion is the version of a module in go.mod, without its v.
func moduleVersion(t *testing.T, path string) string {
	t.Helper()
	fields := strings.Fields(readFile(t, "go.mod"))
	at := slices.Index(fields, path)
	if at < 0 {
		t.Fatalf("%s is not in go.mod", path)
	}
	return strings.TrimPrefix(fields[at+1], "v")
}
