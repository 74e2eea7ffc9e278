// A reader of one target in a folder, in Go without packages: everything is proven before anything is answered.
//
//	release, err := Load("/srv/store", "shop", "home", Options{Strict: true})
//	release.Find("cooc", "i1") // the row of an id as JSON, or nil
//	release, err = Load("/srv/store", "shop", "home", Options{Strict: true, After: release}) // the next look
//
// As a program it runs the conformance kit: go run reader.go CASES.json
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

const (
	maxPointer = 1_000_000
	maxBlob    = 256_000_000
)

var (
	kinds = map[string]struct{ body, key string }{
		"popularity":  {"items", "item_id"},
		"cooc":        {"neighbors", "item_id"},
		"implicit":    {"users", "user_id"},
		"session_seq": {"users", "user_id"},
		"content_sim": {"items", "item_id"},
	}
	instant = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?Z$`)
	version = regexp.MustCompile(`^[0-9a-f]{64}\.[a-z0-9]{1,20}$`)
	build   = []byte(`,"build":`)
	zeroed  = []byte(`,"build":{"built_at":"","version":""}}`)
)

type object = map[string]json.RawMessage
type lookup = func(id string) json.RawMessage

// Options of a look: Strict demands a record of the release, After is what was served before.
type Options struct {
	Strict bool
	After  *Release
}

// Release is what is live, whole and proven.
type Release struct {
	ID      string
	at      string // the pointer's instant, so written that order of text is order of time
	lookups map[string]lookup
}

// Find returns the row of an id as JSON, or nil.
func (release *Release) Find(kind, id string) json.RawMessage {
	if find, known := release.lookups[kind]; known {
		return find(id)
	}
	return nil
}

// Load returns the live release, or an error that says why there is none that may be served.
func Load(root, tenant, surface string, options Options) (*Release, error) {
	key := fmt.Sprintf("registry/current/%s/%s/manifest.json", tenant, surface)
	data, err := get(root, key, maxPointer)
	if err != nil {
		return nil, err
	}
	pointer, err := parse(data, key)
	if err != nil {
		return nil, err
	}
	current, updatedAt := map[string]string{}, ""
	if len(pointer) != 5 || string(pointer["v"]) != "1" || !fields(pointer, "current", &current, "updated_at", &updatedAt) {
		return nil, fmt.Errorf("%s: no pointer", key)
	}
	if text(pointer["tenant"]) != tenant || text(pointer["surface"]) != surface {
		return nil, fmt.Errorf("%s is another target's", key)
	}
	parts := instant.FindStringSubmatch(updatedAt)
	if parts == nil {
		return nil, fmt.Errorf("%s: %s is no instant", key, updatedAt)
	}
	release := &Release{at: fmt.Sprintf("%s.%-9s", parts[1], parts[2]), lookups: map[string]lookup{}}
	release.at = strings.ReplaceAll(release.at, " ", "0")
	versions := [][]string{}
	for kind, uri := range current {
		base := strings.TrimSuffix(kind, ".shards")
		found, err := versionIn(root, tenant, surface, kind, uri)
		if err != nil {
			return nil, err
		}
		versions = append(versions, []string{kind, found})
		_, known := kinds[base]
		_, inShards := current[kind+".shards"]
		switch {
		case !known || inShards: // imported kinds have other forms: leave them alone
			continue
		case kind != base:
			release.lookups[base], err = shards(root, tenant, surface, base, strings.TrimSuffix(found, ".shards"))
		default:
			release.lookups[kind], err = rows(root, tenant, surface, kind, found)
		}
		if err != nil {
			return nil, err
		}
	}
	sort.Slice(versions, func(i, j int) bool { return versions[i][0] < versions[j][0] })
	release.ID = hash(compact([]any{tenant, surface, versions}))
	if options.Strict {
		if _, err := get(root, fmt.Sprintf("releases/%s/%s/%s.json", tenant, surface, release.ID), maxBlob); err != nil {
			return nil, err
		}
	}
	if before := options.After; before != nil {
		if release.at < before.at || (release.at == before.at && release.ID != before.ID) {
			return nil, fmt.Errorf("%s is of the past: was a backup restored?", key)
		}
	}
	return release, nil
}

// rows returns the lookup of a kind that is one object.
func rows(root, tenant, surface, kind, version string) (lookup, error) {
	key := fmt.Sprintf("artifacts/%s/%s/%s/%s.json", tenant, surface, kind, version)
	data, err := get(root, key, maxBlob)
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndex(data, build)
	if end <= 0 || hash(data[:end], zeroed) != version {
		return nil, fmt.Errorf("%s is not what its name says", key)
	}
	document, err := parse(data, key)
	if err != nil {
		return nil, err
	}
	if !owned(document, kind, tenant, surface) {
		return nil, fmt.Errorf("%s is another's", key)
	}
	body := []json.RawMessage{}
	if json.Unmarshal(document[kinds[kind].body], &body) != nil {
		return nil, fmt.Errorf("%s holds no %s", key, kinds[kind].body)
	}
	found := make(map[string]json.RawMessage, len(body))
	for _, row := range body {
		one, err := parse(row, key)
		if err != nil {
			return nil, err
		}
		found[text(one[kinds[kind].key])] = row
	}
	return func(id string) json.RawMessage { return found[id] }, nil
}

// shards returns the lookup of a kind whose index names its shards by the hashes of their bytes.
func shards(root, tenant, surface, kind, version string) (lookup, error) {
	key := fmt.Sprintf("artifacts/%s/%s/%s.shards/%s.shards", tenant, surface, kind, version)
	data, err := get(root, key, maxBlob)
	if err != nil {
		return nil, err
	}
	if hash(data) != version {
		return nil, fmt.Errorf("%s is not what its name says", key)
	}
	index, err := parse(data, key)
	if err != nil {
		return nil, err
	}
	named := []object{}
	if !owned(index, kind, tenant, surface) || text(index["rule"]) != "sha256-be64-mod" || !fields(index, "shards", &named) {
		return nil, fmt.Errorf("%s is another's", key)
	}
	loaded := make([]lookup, len(named))
	for number, shard := range named {
		if loaded[number], err = rows(root, tenant, surface, kind, text(shard["version"])); err != nil {
			return nil, err
		}
	}
	return func(id string) json.RawMessage {
		sum := sha256.Sum256([]byte(id))
		return loaded[binary.BigEndian.Uint64(sum[:8])%uint64(len(loaded))](id)
	}, nil
}

// versionIn returns the version that an address names: the hash alone of a kind's JSON, with any other ending.
func versionIn(root, tenant, surface, kind, uri string) (string, error) {
	start := fmt.Sprintf("file://%s/artifacts/%s/%s/%s/", root, tenant, surface, kind)
	name := strings.TrimPrefix(uri, start)
	if !strings.HasPrefix(uri, start) || !version.MatchString(name) {
		return "", fmt.Errorf("%s is no %s of ours", uri, kind)
	}
	return strings.TrimSuffix(name, ".json"), nil
}

// get returns at most so many bytes of a file.
func get(root, key string, most int64) ([]byte, error) {
	file, err := os.Open(filepath.Join(root, filepath.FromSlash(key)))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is over %d bytes", key, most)
	}
	return data, err
}

func parse(data []byte, name string) (object, error) {
	found := object{}
	if !utf8.Valid(data) || json.Unmarshal(data, &found) != nil || found == nil {
		return nil, fmt.Errorf("%s is no JSON object in UTF-8", name)
	}
	return found, nil
}

func owned(document object, kind, tenant, surface string) bool {
	owner := []string{string(document["v"]), text(document["artifact_type"]), text(document["tenant"]), text(document["surface"])}
	return strings.Join(owner, "\x00") == strings.Join([]string{"1", kind, tenant, surface}, "\x00")
}

// fields reads named fields into places, and returns whether each is there and fits.
func fields(document object, pairs ...any) bool {
	for n := 0; n < len(pairs); n += 2 {
		value, there := document[pairs[n].(string)]
		if !there || json.Unmarshal(value, pairs[n+1]) != nil {
			return false
		}
	}
	return true
}

func text(value json.RawMessage) string {
	found := ""
	if json.Unmarshal(value, &found) != nil {
		return "\x00" // no name is this
	}
	return found
}

func hash(parts ...[]byte) string {
	sum := sha256.New()
	for _, part := range parts {
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// compact writes JSON as a release's id is computed from: without blanks, letters as they are.
func compact(value any) []byte {
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // strings in lists can always be written
	}
	plain := strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(written.String())
	return []byte(strings.TrimSuffix(plain, "\n"))
}

type question struct {
	Name, Root, Tenant, Surface string
	Strict                      bool
	Seen                        *string // a store of the same target that was read before
	Ask                         [][]json.RawMessage
}

type outcome struct {
	Name    string            `json:"name"`
	Outcome string            `json:"outcome"`
	Answers []json.RawMessage `json:"answers,omitempty"`
	Why     string            `json:"why,omitempty"`
}

func answer(one question) (outcome, error) {
	options := Options{Strict: one.Strict}
	if one.Seen != nil {
		before, err := Load(*one.Seen, one.Tenant, one.Surface, options)
		if err != nil {
			return outcome{}, errors.New("what was seen before must be good: " + err.Error())
		}
		options.After = before
	}
	release, err := Load(one.Root, one.Tenant, one.Surface, options)
	if err != nil {
		return outcome{Name: one.Name, Outcome: "refused", Why: err.Error()}, nil
	}
	found := outcome{Name: one.Name, Outcome: "served"}
	for _, ask := range one.Ask {
		row := release.Find(text(ask[0]), text(ask[1]))
		if row == nil {
			row = json.RawMessage("null")
		}
		found.Answers = append(found.Answers, row)
	}
	return found, nil
}

func runKit(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	questions, found := []question{}, []outcome{}
	if err := json.Unmarshal(data, &questions); err != nil {
		return err
	}
	for _, one := range questions {
		done, err := answer(one)
		if err != nil {
			return err
		}
		found = append(found, done)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	return encoder.Encode(found)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "go run reader.go CASES.json")
		os.Exit(2)
	}
	if err := runKit(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
