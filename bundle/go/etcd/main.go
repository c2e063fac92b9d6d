// Command etcd is the one binary behind etcd, etcdctl and etcdutl.
//
// The program is chosen by the name it is called by (argv[0]) or, when that name is none of them, by its first
// argument if that is one; otherwise it is etcd, so that a manifest's `command: [etcd, ...]` and a plain
// `docker run IMAGE --version` both work. Nothing of upstream is patched.
package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdctl/v3/ctlv3"
	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
	"go.etcd.io/etcd/pkg/v3/cobrautl"
	"go.etcd.io/etcd/server/v3/etcdmain"
)

const serverName = "etcd"

// programs maps a program's name to its entry point.
var programs = map[string]func(){
	serverName: func() { etcdmain.Main(os.Args) },
	"etcdctl":  ctlv3.MustStart,
	"etcdutl":  offlineTool,
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, known := programs[name]; !known {
		name = serverName
		if len(os.Args) > 1 {
			if _, known := programs[os.Args[1]]; known {
				name, os.Args = os.Args[1], os.Args[1:]
			}
		}
	}
	programs[name]()
}

// offlineTool is etcdutl: commands on the files of a stopped etcd (snapshot restore, defrag, hashkv).
func offlineTool() {
	root := &cobra.Command{Use: "etcdutl", Short: "Works on the files of an etcd member that is not running"}
	root.PersistentFlags().StringVarP(&etcdutl.OutputFormat, "write-out", "w", "simple", "output format: fields, json, protobuf, simple, table")
	root.AddCommand(
		etcdutl.NewSnapshotCommand(),
		etcdutl.NewDefragCommand(),
		etcdutl.NewHashKVCommand(),
		etcdutl.NewMigrateCommand(),
		etcdutl.NewVersionCommand(),
		etcdutl.NewCompletionCommand(),
	)
	if err := root.Execute(); err != nil {
		cobrautl.ExitWithError(cobrautl.ExitError, err)
	}
}
