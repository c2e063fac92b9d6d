module junioadm.io/bundle/xtables

go 1.26.0
