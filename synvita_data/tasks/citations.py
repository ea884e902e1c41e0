"""BibTeX of the papers behind the tasks, once each."""

VIDEOCON = """@inproceedings{bansal2024videocon,
  title     = {VideoCon: Robust Video-Language Alignment via Contrast Captions},
  author    = {Bansal, Hritik and Bitton, Yonatan and Szpektor, Idan and Chang, Kai-Wei and Grover, Aditya},
  booktitle = {CVPR},
  year      = {2024}
}"""

SSV2 = """@inproceedings{goyal2017something,
  title     = {The "Something Something" Video Database for Learning and Evaluating Visual Common Sense},
  author    = {Goyal, Raghav and Ebrahimi Kahou, Samira and Michalski, Vincent and others},
  booktitle = {ICCV},
  year      = {2017}
}"""

SSV2_TEMPORAL = """@inproceedings{sevilla2021only,
  title     = {Only Time Can Tell: Discovering Temporal Data for Temporal Modeling},
  author    = {Sevilla-Lara, Laura and Zha, Shengxin and Yan, Zhicheng and Goswami, Vedanuj and Feiszli, Matt and Torresani, Lorenzo},
  booktitle = {WACV},
  year      = {2021}
}"""

SSV2_EVENTS = """@inproceedings{bagad2023test,
  title     = {Test of Time: Instilling Video-Language Models with a Sense of Time},
  author    = {Bagad, Piyush and Tapaswi, Makarand and Snoek, Cees G. M.},
  booktitle = {CVPR},
  year      = {2023}
}"""

NEXT_QA = """@inproceedings{xiao2021nextqa,
  title     = {NExT-QA: Next Phase of Question-Answering to Explaining Temporal Actions},
  author    = {Xiao, Junbin and Shang, Xindi and Yao, Angela and Chua, Tat-Seng},
  booktitle = {CVPR},
  year      = {2021}
}"""

ATP = """@inproceedings{buch2022revisiting,
  title     = {Revisiting the "Video" in Video-Language Understanding},
  author    = {Buch, Shyamal and Eyzaguirre, Cristobal and Gaidon, Adrien and Wu, Jiajun and Fei-Fei, Li and Niebles, Juan Carlos},
  booktitle = {CVPR},
  year      = {2022}
}"""
