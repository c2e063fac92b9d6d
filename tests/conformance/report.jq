# From ginkgo's JSON report to one line per spec: RESULT, SECONDS, SPEC, FIRST ERROR LINES (tab-separated).
# RESULT is pass, fail, skip (the spec skipped itself), or `-` for a [Conformance] spec that this run left out.
.[].SpecReports[]
| select(.LeafNodeType == "It")
| (((.ContainerHierarchyTexts // []) + [.LeafNodeText]) | join(" ")) as $name
| (.NumAttempts > 0) as $ran
| select($ran or ($name | contains("[Conformance]")))
| (.Failure.Message // "" | split("\n") | map(gsub("\\s+"; " ") | select(test("\\S")))) as $lines
# objects are printed into messages, so what says why may be far down
| ([$lines[0:1][], ($lines[1:][] | select(test("error|expected|timed out|mismatch|to equal|failed|not "; "i")))] | .[0:3]) as $why
| [
    (if ($ran | not) then "-" elif .State == "passed" then "pass" elif .State == "skipped" then "skip" else "fail" end),
    ((.RunTime // 0) / 1e9 | floor),
    $name,
    (if .State == "passed" then "" else ($why | join(" | ") | .[0:400]) end)
  ]
| @tsv
